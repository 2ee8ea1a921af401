using System.Text.Json;
using System.Text.Json.Nodes;
using Grpc.Core;
using Kapell.Base;
using Kapell.Client;
using Kapell.Kubelet.Cri;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Runtime;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Kubelet.Node;

/// <summary>Registers the node, keeps its status true and its lease alive.</summary>
internal sealed class NodeReporter(
    CriClient cri, KubeClient client, KubeletOptions options, MachineInfo machine, KubeletEvents events, TimeProvider time, Prng random, ILogger log)
{
    private const int LeaseSeconds = 40;
    private static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan SendAnywayEvery = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan NotReadyLookEvery = TimeSpan.FromMilliseconds(500);
    private JsonElement _previous;
    private DateTimeOffset _sentAt;
    private string _sentShape = "";
    private bool _wasReady;

    public RuntimeHealth Health { get; private set; } = RuntimeHealth.Unknown;

    public Task RunAsync(CancellationToken cancellation) => Task.WhenAll(StatusLoopAsync(cancellation), LeaseLoopAsync(cancellation));

    private async Task StatusLoopAsync(CancellationToken cancellation)
    {
        events.Node("Normal", "Starting", "Starting kubelet.");
        bool registered = !options.RegisterNode;
        TimeSpan pause = TimeSpan.FromMilliseconds(100);
        while (!cancellation.IsCancellationRequested)
        {
            TimeSpan wait = LookEvery;
            try
            {
                await LookAsync(cancellation);
                if (!registered)
                {
                    await RegisterAsync(cancellation);
                    registered = true;
                }

                await SendAsync(cancellation);
                pause = TimeSpan.FromMilliseconds(100);
                wait = Health.Ready ? LookEvery : NotReadyLookEvery;
            }
            catch (Exception e) when (e is StatusException or HttpRequestException or TimeoutException or RpcException && !cancellation.IsCancellationRequested)
            {
                Log.TaskFailed(log, "updating the node's status", e.Message);
                registered = registered && e is not StatusException { IsNotFound: true };
                wait = pause;
                pause = pause * 2 < LookEvery ? pause * 2 : LookEvery;
            }

            await Task.Delay(wait, time, cancellation);
        }
    }

    private async Task LookAsync(CancellationToken cancellation)
    {
        try
        {
            VersionResponse version = await cri.Runtime.VersionAsync(new VersionRequest { Version = "0.1.0" }, cancellationToken: cancellation);
            StatusResponse status = await cri.Runtime.StatusAsync(new StatusRequest(), cancellationToken: cancellation);
            List<string> wrong = [];
            foreach (RuntimeCondition condition in status.Status.Conditions.Where(c => !c.Status))
            {
                // Kubernetes: kubelet runtime.go: the words of the Ready condition.
                wrong.Add(condition.Type switch
                {
                    "NetworkReady" => "container runtime network not ready: NetworkReady=false reason:" + condition.Reason + " message:" + condition.Message,
                    _ => $"container runtime not ready: {condition.Type}=false reason:{condition.Reason} message:{condition.Message}",
                });
            }

            Health = new RuntimeHealth(wrong.Count == 0, string.Join(", ", wrong), version.RuntimeName, version.RuntimeVersion);
        }
        catch (RpcException e) when (!cancellation.IsCancellationRequested)
        {
            Health = Health with { Ready = false, NotReadyMessage = "container runtime is down: " + CriClient.Text(e) };
        }
    }

    private async Task RegisterAsync(CancellationToken cancellation)
    {
        JsonObject node = NodeObject.New(options, machine);
        JsonObject withStatus = (JsonObject)node.DeepClone();
        withStatus["status"] = NodeObject.Status(options, machine, Health, [], default, time.GetUtcNow());
        try
        {
            KubeObject created = await client.CreateAsync(Resources.Nodes, "", withStatus, cancellation);
            _previous = created.Status;
            Log.Registered(log, options.NodeName);
        }
        catch (StatusException e) when (e.IsAlreadyExists)
        {
            // Kubernetes: kubelet_node_status.go updateDefaultLabels: ours are brought up to date, the others stay.
            KubeObject there = await client.GetAsync(Resources.Nodes, new ObjectKey("", options.NodeName), cancellation);
            _previous = there.Status;
            JsonObject labels = (JsonObject)node["metadata"]!["labels"]!;
            if (labels.Any(l => there.Labels.GetValueOrDefault(l.Key, "\0") != (string?)l.Value))
            {
                JsonObject patch = new() { ["metadata"] = new JsonObject { ["labels"] = labels.DeepClone() } };
                await client.PatchAsync(Resources.Nodes, there.Key, PatchKind.Merge, patch, cancellation);
            }
        }
    }

    private async Task SendAsync(CancellationToken cancellation)
    {
        DateTimeOffset now = time.GetUtcNow();
        JsonObject status = NodeObject.Status(options, machine, Health, await ImagesAsync(cancellation), _previous, now);
        string shape = Shape(status);
        if (shape == _sentShape && now - _sentAt < SendAnywayEvery)
        {
            return;
        }

        KubeObject answer = await client.PatchAsync(
            Resources.Nodes, new ObjectKey("", options.NodeName), PatchKind.Strategic, new JsonObject { ["status"] = status },
            RequestOptions.For("status"), cancellation);
        _previous = answer.Status;
        (_sentShape, _sentAt) = (shape, now);
        if (Health.Ready != _wasReady)
        {
            _wasReady = Health.Ready;
            events.Node("Normal", Health.Ready ? "NodeReady" : "NodeNotReady", $"Node {options.NodeName} status is now: {(Health.Ready ? "NodeReady" : "NodeNotReady")}");
        }
    }

    // The status without its clock: what decides whether it has changed.
    private static string Shape(JsonObject status)
    {
        JsonObject copy = (JsonObject)status.DeepClone();
        foreach (JsonNode? condition in (JsonArray)copy["conditions"]!)
        {
            ((JsonObject)condition!).Remove("lastHeartbeatTime");
        }

        return copy.ToJsonString();
    }

    private async Task<IReadOnlyList<NodeImage>> ImagesAsync(CancellationToken cancellation)
    {
        try
        {
            ListImagesResponse images = await cri.Images.ListImagesAsync(new ListImagesRequest(), cancellationToken: cancellation);
            return [.. images.Images.Select(i => new NodeImage([.. i.RepoDigests, .. i.RepoTags], (long)i.Size))];
        }
        catch (RpcException) when (!Health.Ready)
        {
            return []; // The condition already says that the runtime is down.
        }
    }

    private async Task LeaseLoopAsync(CancellationToken cancellation)
    {
        ObjectKey key = new("kube-node-lease", options.NodeName);
        KubeObject? held = null;
        TimeSpan retry = TimeSpan.FromMilliseconds(200);
        while (!cancellation.IsCancellationRequested)
        {
            // Upstream jitters by 4 % so that nodes do not beat together.
            TimeSpan wait = options.LeaseInterval * (1 + (0.04 * random.NextDouble()));
            try
            {
                held = await RenewAsync(key, held, cancellation);
                retry = TimeSpan.FromMilliseconds(200);
            }
            catch (Exception e) when (e is StatusException or HttpRequestException or TimeoutException)
            {
                Log.TaskFailed(log, "renewing the node's lease", e.Message);
                held = null;
                wait = retry;
                retry = retry * 2 < options.LeaseInterval ? retry * 2 : options.LeaseInterval;
            }

            await Task.Delay(wait, time, cancellation);
        }
    }

    private async Task<KubeObject> RenewAsync(ObjectKey key, KubeObject? held, CancellationToken cancellation)
    {
        if (held is null)
        {
            try
            {
                held = await client.GetAsync(Resources.Leases, key, cancellation);
            }
            catch (StatusException e) when (e.IsNotFound)
            {
                return await client.CreateAsync(Resources.Leases, key.Namespace, await LeaseAsync(null, cancellation), cancellation);
            }
        }

        return await client.UpdateAsync(Resources.Leases, key, await LeaseAsync(held, cancellation), cancellation);
    }

    private async Task<JsonObject> LeaseAsync(KubeObject? held, CancellationToken cancellation)
    {
        JsonObject lease = held?.ToNode() ?? new JsonObject
        {
            ["apiVersion"] = "coordination.k8s.io/v1", ["kind"] = "Lease",
            ["metadata"] = new JsonObject { ["name"] = options.NodeName, ["namespace"] = "kube-node-lease" },
        };
        JsonObject metadata = (JsonObject)lease["metadata"]!;
        if (metadata["ownerReferences"] is null && await NodeUidAsync(cancellation) is { Length: > 0 } uid)
        {
            metadata["ownerReferences"] = new JsonArray(
                (JsonNode)new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Node", ["name"] = options.NodeName, ["uid"] = uid });
        }

        lease["spec"] = new JsonObject
        {
            ["holderIdentity"] = options.NodeName, ["leaseDurationSeconds"] = LeaseSeconds,
            ["renewTime"] = time.GetUtcNow().UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'"),
        };
        return lease;
    }

    private async Task<string> NodeUidAsync(CancellationToken cancellation)
    {
        try
        {
            return (await client.GetAsync(Resources.Nodes, new ObjectKey("", options.NodeName), cancellation)).Uid;
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            return "";
        }
    }
}
