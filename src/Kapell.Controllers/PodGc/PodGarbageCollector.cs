using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Controllers.Shared;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Controllers.PodGc;

/// <summary>
/// Clears pods nobody else will (pkg/controller/podgc): more terminated ones than the threshold, those of nodes that are gone, and those
/// deleted before they were ever placed.
/// </summary>
internal sealed class PodGarbageCollector(ControllerContext context) : IController
{
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan Quarantine = TimeSpan.FromSeconds(40);
    private readonly KubeClient _client = context.ClientFor("pod-garbage-collector");
    private readonly Informer _pods = context.Informers.For(Resources.Pods);
    private readonly Informer _nodes = context.Informers.For(Resources.Nodes);
    private readonly TimeProvider _time = context.Time;
    private readonly ILogger _log = context.LogFor("pod-garbage-collector-controller");
    private readonly int _threshold = context.Options.TerminatedPodGcThreshold;
    private readonly Dictionary<string, long> _missingSince = new(StringComparer.Ordinal);

    public static IController Create(ControllerContext context) => new PodGarbageCollector(context);

    public async Task RunAsync(CancellationToken cancellation)
    {
        await _pods.WaitForSyncAsync(cancellation);
        await _nodes.WaitForSyncAsync(cancellation);
        while (true)
        {
            try
            {
                await CollectAsync(cancellation);
            }
            catch (Exception e) when (e is StatusException or HttpRequestException or IOException or TimeoutException or JsonException)
            {
                Log.Trouble(_log, "pod-garbage-collector-controller", e.Message);
            }

            await Task.Delay(Period, _time, cancellation);
        }
    }

    private async Task CollectAsync(CancellationToken cancellation)
    {
        IReadOnlyList<KubeObject> pods = _pods.List();
        foreach (KubeObject pod in Terminated(pods, _threshold))
        {
            await RemoveAsync(pod, null, cancellation);
        }

        foreach (string node in await GoneNodesAsync(pods, cancellation))
        {
            foreach (KubeObject pod in pods.Where(p => p.NodeName() == node))
            {
                await RemoveAsync(pod, "PodGC: node no longer exists", cancellation);
            }
        }

        foreach (KubeObject pod in pods.Where(p => p.IsDeleting && p.NodeName().Length == 0))
        {
            await RemoveAsync(pod, null, cancellation);
        }
    }

    /// <summary>The oldest terminated pods above the threshold. Pure.</summary>
    internal static IReadOnlyList<KubeObject> Terminated(IReadOnlyList<KubeObject> pods, int threshold)
    {
        if (threshold <= 0)
        {
            return [];
        }

        KubeObject[] finished = [.. pods.Where(p => p.Phase() is not ("Pending" or "Running" or "Unknown")).OrderBy(p => p.Created())];
        return [.. finished.Take(Math.Max(0, finished.Length - threshold))];
    }

    // A node counts as gone when it has been missing for a while and the server, asked once more, does not know it either.
    private async Task<List<string>> GoneNodesAsync(IReadOnlyList<KubeObject> pods, CancellationToken cancellation)
    {
        HashSet<string> present = [.. _nodes.List().Select(n => n.Name)];
        HashSet<string> missing = [.. pods.Select(p => p.NodeName()).Where(n => n.Length > 0 && !present.Contains(n))];
        foreach (string back in _missingSince.Keys.Where(n => !missing.Contains(n)).ToArray())
        {
            _missingSince.Remove(back);
        }

        List<string> gone = [];
        foreach (string node in missing)
        {
            _missingSince.TryAdd(node, _time.GetTimestamp());
            if (_time.GetElapsedTime(_missingSince[node]) < Quarantine)
            {
                continue;
            }

            try
            {
                await _client.GetAsync(Resources.Nodes, new ObjectKey("", node), cancellation);
            }
            catch (StatusException e) when (e.IsNotFound)
            {
                gone.Add(node);
            }
        }

        return gone;
    }

    private async Task RemoveAsync(KubeObject pod, string? disruption, CancellationToken cancellation)
    {
        try
        {
            // Its owner counts finished pods: one that will never report again is failed before it goes (markFailedAndDeletePod).
            if (!pod.IsFinished())
            {
                JsonObject patch = disruption is null ? new JsonObject { ["metadata"] = new JsonObject { ["uid"] = pod.Uid } }
                    : Disruption.Patch(pod, "DeletionByPodGC", disruption, _time.GetUtcNow());
                patch.Child("status")["phase"] = "Failed";
                await _client.PatchAsync(Resources.Pods, pod.Key, PatchKind.Strategic, patch, RequestOptions.For("status"), cancellation);
            }

            await _client.DeleteAsync(Resources.Pods, pod.Key, new DeleteOptions { GracePeriodSeconds = 0, PreconditionUid = pod.Uid }, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound || e.IsConflict)
        {
            // Gone or replaced.
        }
    }
}
