using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Kubelet.Pods;

/// <summary>
/// Shows static pods at the API server: each has an image there that can be looked at but not steered. Deleting it brings it back; it goes
/// when the file goes. // Kubernetes: pkg/kubelet/pod/mirror_client.go
/// </summary>
internal sealed class MirrorPods
{
    private const string MirrorAnnotation = "kubernetes.io/config.mirror";
    private readonly KubeClient _client;
    private readonly Informer _pods;
    private readonly StatusManager _statuses;
    private readonly KubeletOptions _options;
    private readonly ILogger _log;
    private readonly Dictionary<string, string> _shown = new(StringComparer.Ordinal); // static uid to the image's uid; the relist loop's own

    public MirrorPods(KubeClient client, Informer pods, StatusManager statuses, KubeletOptions options, ILogger log)
    {
        _client = client;
        _pods = pods;
        _statuses = statuses;
        _options = options;
        _log = log;
        statuses.MirrorUid = pod => Find(pod) is { } mirror && IsOf(mirror, pod) ? mirror.Uid : null;
    }

    /// <summary>Makes the images that are missing, and deletes those whose file is gone or has changed.</summary>
    public async Task SyncAsync(IReadOnlyList<Pod> statics, CancellationToken cancellation)
    {
        if (!_pods.HasSynced)
        {
            return;
        }

        try
        {
            foreach (Pod pod in statics)
            {
                await ShowAsync(pod, cancellation);
            }

            foreach (KubeObject mirror in _pods.List().Where(m => m.Annotations.ContainsKey(MirrorAnnotation) && !statics.Any(s => s.Object.Key == m.Key)))
            {
                await DeleteAsync(mirror, cancellation);
            }
        }
        catch (Exception e) when (e is StatusException or HttpRequestException or TimeoutException)
        {
            Log.TaskFailed(_log, "showing static pods at the API server", e.Message);
        }
    }

    private static bool IsOf(KubeObject mirror, Pod pod) => mirror.Annotations.GetValueOrDefault(MirrorAnnotation) == pod.Uid;

    private KubeObject? Find(Pod pod) => _pods.Get(pod.Object.Key);

    private async Task ShowAsync(Pod pod, CancellationToken cancellation)
    {
        KubeObject? there = Find(pod);
        if (there is null)
        {
            await CreateAsync(pod, cancellation);
        }
        else if (there.Annotations.ContainsKey(MirrorAnnotation) && (there.IsDeleting || !IsOf(there, pod)))
        {
            await DeleteAsync(there, cancellation);
        }
        else if (IsOf(there, pod) && _shown.GetValueOrDefault(pod.Uid) != there.Uid)
        {
            _shown[pod.Uid] = there.Uid;
            _statuses.Resend(pod.Uid);
        }
    }

    private async Task CreateAsync(Pod pod, CancellationToken cancellation)
    {
        JsonObject json = pod.Object.ToNode();
        JsonObject metadata = (JsonObject)json["metadata"]!; // a static pod has one
        metadata.Remove("uid");
        ((JsonObject)metadata["annotations"]!)[MirrorAnnotation] = pod.Uid; // set when the file was read
        json.Remove("status");
        try
        {
            KubeObject node = await _client.GetAsync(Resources.Nodes, new ObjectKey("", _options.NodeName), cancellation);
            metadata["ownerReferences"] = new JsonArray((JsonNode)new JsonObject
            {
                ["apiVersion"] = "v1", ["kind"] = "Node", ["name"] = node.Name, ["uid"] = node.Uid, ["controller"] = true,
            });
            await _client.CreateAsync(Resources.Pods, pod.Namespace, json, cancellation);
        }
        catch (StatusException e) when (e.IsAlreadyExists || e.IsNotFound)
        {
            // The watch shows it in a moment; or the node is not registered yet.
        }
    }

    private async Task DeleteAsync(KubeObject mirror, CancellationToken cancellation)
    {
        try
        {
            await _client.DeleteAsync(Resources.Pods, mirror.Key, new DeleteOptions { GracePeriodSeconds = 0, PreconditionUid = mirror.Uid }, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound || e.IsConflict)
        {
            // Gone already.
        }
    }
}
