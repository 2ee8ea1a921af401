using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Controllers.Nodes;

/// <summary>
/// Judges nodes by their heartbeats (lease or status): a silent node becomes Unknown, its pods not ready, and conditions become taints
/// (pkg/controller/nodelifecycle). A heartbeat is when this process saw one change: clocks of nodes are not believed.
/// </summary>
internal sealed class NodeLifecycleController : IReconciler<ObjectKey>, IController
{
    private const string LeaseNamespace = "kube-node-lease";
    private static readonly string[] Watched = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
    private readonly KubeClient _client;
    private readonly EventRecorder _events;
    private readonly Informer _nodes;
    private readonly Informer _leases;
    private readonly Informer _pods;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly TimeProvider _time;
    private readonly ControllerOptions _options;
    private readonly ILogger _log;
    private readonly Lock _gate = new(); // around the map
    private readonly Dictionary<string, (string Beat, long At)> _beats = new(StringComparer.Ordinal);
    private readonly Dictionary<string, KubeObject> _greeted = new(StringComparer.Ordinal); // under _gate

    private NodeLifecycleController(ControllerContext context)
    {
        _client = context.ClientFor("node-controller");
        _events = context.RecorderFor("node-controller", _client);
        _time = context.Time;
        _options = context.Options;
        _log = context.LogFor(Name);
        _nodes = context.Informers.For(Resources.Nodes);
        _pods = context.Informers.For(Resources.Pods);
        _leases = context.Informers.For(Resources.Leases, new InformerOptions { Namespace = LeaseNamespace });
        _pods.AddIndex(TaintEvictionController.NodeIndex, p => [p.NodeName()]);
        _queue = context.Queue();
        _nodes.AddHandler(InformerHandler.ForAll(n => _queue.Add(n.Key)));
    }

    public string Name => "node-lifecycle-controller";

    public static IController Create(ControllerContext context) => new NodeLifecycleController(context);

    public async Task RunAsync(CancellationToken cancellation)
    {
        await _nodes.WaitForSyncAsync(cancellation);
        await _leases.WaitForSyncAsync(cancellation);
        await _pods.WaitForSyncAsync(cancellation);
        Task workers = new ReconcilerHost<ObjectKey>(this, _queue, _log).RunAsync(2, cancellation);
        while (!workers.IsCompleted)
        {
            foreach (KubeObject node in _nodes.List())
            {
                _queue.Add(node.Key);
            }

            await Task.Delay(_options.NodeMonitorPeriod, _time, cancellation);
        }

        await workers;
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_nodes.Get(key) is not { } node)
        {
            Forget(key.Name);
            return ReconcileResult.Done;
        }

        Greet(node);

        bool reported = PodView.Condition(node, "Ready").ValueKind == JsonValueKind.Object;
        TimeSpan grace = reported ? _options.NodeMonitorGracePeriod : _options.NodeStartupGracePeriod;
        TimeSpan silent = Silence(node);
        if (silent > grace && SilentStatus(node, _time.GetUtcNow()) is { } status)
        {
            JsonObject json = node.ToNode();
            json["status"] = status;
            node = await _client.UpdateStatusAsync(Resources.Nodes, key, json, cancellation);
            _events.Normal(node, "NodeNotReady", $"Node {node.Name} status is now: NodeNotReady");
        }

        if (reported && PodView.Condition(node, "Ready").Text("status") != "True")
        {
            await MarkPodsNotReadyAsync(node, cancellation);
        }

        bool mayEvict = _nodes.List().Any(n => n.Name != node.Name && IsUp(n)) || IsUp(node);
        if (NodeTaints.Corrected(node, NodeTaints.Wanted(node, mayEvict), _time.GetUtcNow()) is { } taints)
        {
            JsonObject patch = new()
            {
                ["metadata"] = new JsonObject { ["uid"] = node.Uid, ["resourceVersion"] = node.ResourceVersion },
                ["spec"] = new JsonObject { ["taints"] = taints.Count > 0 ? taints : null },
            };
            await _client.PatchAsync(Resources.Nodes, key, PatchKind.Merge, patch, cancellation);
        }

        return silent <= grace ? ReconcileResult.After(grace - silent + TimeSpan.FromSeconds(1)) : ReconcileResult.Done;
    }

    /// <summary>The status of a node that stopped reporting, or null when it says so already. Pure but for its arguments.</summary>
    internal static JsonObject? SilentStatus(KubeObject node, DateTimeOffset now)
    {
        JsonObject status = node.Status.Object();
        bool changed = false;
        foreach (string type in Watched)
        {
            JsonObject? condition = Conditions.Find(status, type);
            if (condition is null)
            {
                Conditions.Set(status, type, "Unknown", "NodeStatusNeverUpdated", "Kubelet never posted node status.", now, withUpdateTime: false);
                changed = true;
            }
            else if (Conditions.Text(condition, "status") != "Unknown")
            {
                string heartbeat = Conditions.Text(condition, "lastHeartbeatTime");
                Conditions.Set(status, type, "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.", now, withUpdateTime: false);
                Conditions.Find(status, type)!.SetOrRemove("lastHeartbeatTime", heartbeat); // just set
                changed = true;
            }
        }

        return changed ? status : null;
    }

    private void Greet(KubeObject node)
    {
        bool isNew;
        lock (_gate)
        {
            isNew = !_greeted.TryGetValue(node.Name, out KubeObject? before) || before.Uid != node.Uid;
            _greeted[node.Name] = node;
        }

        if (isNew)
        {
            _events.Normal(node, "RegisteredNode", $"Node {node.Name} event: Registered Node {node.Name} in Controller");
        }
    }

    private void Forget(string name)
    {
        KubeObject? gone;
        lock (_gate)
        {
            _beats.Remove(name);
            _greeted.Remove(name, out gone);
        }

        if (gone is not null)
        {
            _events.Normal(gone, "RemovingNode", $"Node {name} event: Removing Node {name} from Controller");
        }
    }

    private static bool IsUp(KubeObject node) => PodView.Condition(node, "Ready").Text("status") == "True";

    private TimeSpan Silence(KubeObject node)
    {
        KubeObject? lease = _leases.Get(new ObjectKey(LeaseNamespace, node.Name));
        string beat = string.Concat(lease?.Spec.Text("renewTime"), "|",
            string.Join('|', node.Status.Items("conditions").Where(c => c.Text("status") != "Unknown").Select(c => c.Text("lastHeartbeatTime"))));
        lock (_gate)
        {
            if (!_beats.TryGetValue(node.Name, out (string Beat, long At) last) || (last.Beat != beat && !IsOnlyOurs(last.Beat, beat)))
            {
                _beats[node.Name] = last = (beat, _time.GetTimestamp());
            }

            return _time.GetElapsedTime(last.At);
        }
    }

    // Our own write of Unknown drops heartbeat times from the text: fewer of the same times is no sign of life.
    private static bool IsOnlyOurs(string before, string now) => now.Split('|').All(t => before.Split('|').Contains(t));

    private async Task MarkPodsNotReadyAsync(KubeObject node, CancellationToken cancellation)
    {
        foreach (KubeObject pod in _pods.Store.ByIndex(TaintEvictionController.NodeIndex, node.Name))
        {
            if (!pod.IsReady())
            {
                continue;
            }

            JsonObject patch = new()
            {
                ["metadata"] = new JsonObject { ["uid"] = pod.Uid },
                ["status"] = new JsonObject
                {
                    ["conditions"] = new JsonArray(new JsonObject
                    {
                        ["type"] = "Ready", ["status"] = "False", ["lastTransitionTime"] = Times.Text(_time.GetUtcNow()),
                    }),
                },
            };
            try
            {
                await _client.PatchAsync(Resources.Pods, pod.Key, PatchKind.Strategic, patch, RequestOptions.For("status"), cancellation);
                _events.Warning(pod, "NodeNotReady", "Node is not ready");
            }
            catch (StatusException e) when (e.IsNotFound || e.IsConflict)
            {
                // Gone or replaced: not ready in any case.
            }
        }
    }
}
