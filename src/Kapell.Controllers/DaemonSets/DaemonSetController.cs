using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.DaemonSets;

/// <summary>
/// One pod of a DaemonSet on every node that fits (pkg/controller/daemon). Updates roll by the hash of the newest ControllerRevision.
/// </summary>
internal sealed class DaemonSetController : IReconciler<ObjectKey>
{
    private const int BurstReplicas = 250;
    private readonly KubeClient _client;
    private readonly Informer _sets;
    private readonly Informer _pods;
    private readonly Informer _nodes;
    private readonly Informer _revisions;
    private readonly RevisionHistory _history;
    private readonly EventRecorder _events;
    private readonly FailureBackoff _failures;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly Expectations _expectations;
    private readonly PodControl _podControl;
    private readonly Claims _claims;
    private readonly TimeProvider _time;

    private DaemonSetController(ControllerContext context)
    {
        _client = context.ClientFor("daemon-set-controller");
        _time = context.Time;
        _sets = context.Informers.For(Resources.DaemonSets);
        _pods = context.Informers.For(Resources.Pods);
        _nodes = context.Informers.For(Resources.Nodes);
        _queue = context.Queue();
        _expectations = new Expectations(_time);
        _events = context.RecorderFor("daemonset-controller", _client);
        _podControl = new PodControl(_client, _events);
        _failures = new FailureBackoff(_time);
        _revisions = context.Informers.For(Resources.ControllerRevisions);
        _revisions.AddIndex(Owners.ControllerIndexName, Owners.ControllerIndex);
        _history = new RevisionHistory(_client, Resources.DaemonSets, _revisions, DaemonPods.HashLabel);
        _claims = new Claims(_client, Resources.DaemonSets, Resources.Pods, _pods);
        _pods.AddIndex(Owners.ControllerIndexName, Owners.ControllerIndex);
        _sets.AddHandler(new InformerHandler
        {
            OnAdded = s => _queue.Add(s.Key), OnUpdated = (_, s) => _queue.Add(s.Key), OnDeleted = s => _expectations.Forget(s.Key),
        });
        _pods.AddHandler(new InformerHandler { OnAdded = PodAdded, OnUpdated = (_, p) => PodChanged(p), OnDeleted = PodGone });
        _nodes.AddHandler(new InformerHandler { OnAdded = _ => AddAll(), OnUpdated = NodeUpdated, OnDeleted = _ => AddAll() });
    }

    public string Name => "daemonset-controller";

    public static IController Create(ControllerContext context)
    {
        DaemonSetController c = new(context);
        return new QueueController<ObjectKey>(c, c._queue, context.Options.ConcurrentDaemonSetSyncs, [c._sets, c._pods, c._nodes, c._revisions], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_sets.Get(key) is not { } set)
        {
            _expectations.Forget(key);
            return ReconcileResult.Done;
        }

        LabelMatch selector = LabelMatch.Of(set.Spec.Get("selector"));
        if (selector.IsEmpty)
        {
            return ReconcileResult.Done;
        }

        IReadOnlyList<KubeObject> nodes = [.. _nodes.List().OrderBy(n => n.Name, StringComparer.Ordinal)];
        List<KubeObject> pods = await _claims.ClaimAsync(set, selector, p => !p.IsFinished(), cancellation);
        if (set.IsDeleting)
        {
            return ReconcileResult.Done;
        }

        RevisionState revisions = await _history.SyncAsync(set, selector, cancellation);
        string hash = RevisionHistory.HashOf(revisions.Update, DaemonPods.HashLabel);
        Exception? failure = null;
        if (_expectations.Satisfied(key))
        {
            DaemonChanges changes = DaemonPlan.Changes(set, nodes, pods, hash, _time.GetUtcNow(), p => MayReplace(set, p));
            failure = await ApplyAsync(set, changes, hash, cancellation);
            if (failure is null && changes.IsEmpty)
            {
                failure = await ApplyAsync(set, DaemonPlan.Roll(set, nodes, pods, hash, _time.GetUtcNow()), hash, cancellation);
            }

            HashSet<string> live = [.. pods.Select(p => p.Labels.GetValueOrDefault(DaemonPods.HashLabel, ""))];
            await _history.TruncateAsync(
                set, revisions, revisions.All.Where(r => live.Contains(RevisionHistory.HashOf(r, DaemonPods.HashLabel))).Select(r => r.Name).ToHashSet(), cancellation);
        }

        JsonObject status = DaemonPlan.Status(set, nodes, pods, hash, _time.GetUtcNow());
        status.SetOrRemove("collisionCount", revisions.Collisions);
        await UpdateStatusAsync(set, status, cancellation);
        if (failure is not null)
        {
            throw failure;
        }

        long minReady = set.Spec.Long("minReadySeconds");
        return minReady > 0 && pods.Any(p => p.IsReady() && !p.IsAvailable(minReady, _time.GetUtcNow()))
            ? ReconcileResult.After(TimeSpan.FromSeconds(minReady)) : ReconcileResult.Done;
    }

    // A pod that fails at once, on a node that refuses it, must not be made again and again without a pause (failedPodsBackoff).
    private bool MayReplace(KubeObject set, KubeObject pod)
    {
        string key = $"{set.Uid}/{pod.NodeName()}";
        TimeSpan wait = _failures.Next(key, pod.Uid);
        if (wait > TimeSpan.Zero)
        {
            _queue.AddAfter(set.Key, wait);
            return false;
        }

        _events.Warning(set, "FailedDaemonPod", $"Found failed daemon pod {pod.Namespace}/{pod.Name} on node {pod.NodeName()}, will try to kill it");
        return true;
    }

    private async Task<Exception?> ApplyAsync(KubeObject set, DaemonChanges changes, string hash, CancellationToken cancellation)
    {
        string[] create = [.. changes.CreateOn.Take(BurstReplicas)];
        KubeObject[] delete = [.. changes.Delete.Take(BurstReplicas)];
        _expectations.ExpectCreations(set.Key, create.Length);
        _expectations.ExpectDeletions(set.Key, delete.Select(p => p.Uid));
        (int succeeded, Exception? failure) = await PodControl.SlowStartAsync(
            create.Length, i => _podControl.CreateAsync(set, DaemonPods.Make(set, create[i], hash), cancellation));
        for (int i = succeeded; i < create.Length; i++)
        {
            _expectations.CreationObserved(set.Key);
        }

        foreach (KubeObject pod in delete)
        {
            try
            {
                if (!await _podControl.DeleteAsync(set, pod, cancellation))
                {
                    _expectations.DeletionObserved(set.Key, pod.Uid);
                }
            }
            catch (StatusException e)
            {
                _expectations.DeletionObserved(set.Key, pod.Uid);
                failure ??= e;
            }
        }

        return failure is StatusException s && PodControl.IsNamespaceTerminating(s) ? null : failure;
    }

    private async Task UpdateStatusAsync(KubeObject set, JsonObject status, CancellationToken cancellation)
    {
        if (!JsonNode.DeepEquals(status, set.Status.Object()))
        {
            JsonObject json = set.ToNode();
            json["status"] = status;
            await _client.UpdateStatusAsync(Resources.DaemonSets, set.Key, json, cancellation);
        }
    }

    private KubeObject? OwnerOf(KubeObject pod) =>
        Owners.ControllerOf(pod) is { Kind: "DaemonSet" } r && _sets.Get(new ObjectKey(pod.Namespace, r.Name)) is { } set && set.Uid == r.Uid ? set : null;

    private void PodAdded(KubeObject pod)
    {
        if (pod.IsDeleting)
        {
            PodGone(pod);
        }
        else if (OwnerOf(pod) is { } set)
        {
            _expectations.CreationObserved(set.Key);
            _queue.Add(set.Key);
        }
    }

    private void PodChanged(KubeObject pod)
    {
        if (pod.IsDeleting)
        {
            PodGone(pod);
        }
        else if (OwnerOf(pod) is { } set)
        {
            _queue.Add(set.Key);
        }
    }

    private void PodGone(KubeObject pod)
    {
        if (OwnerOf(pod) is { } set)
        {
            _expectations.DeletionObserved(set.Key, pod.Uid);
            _queue.Add(set.Key);
        }
    }

    private void NodeUpdated(KubeObject old, KubeObject node)
    {
        if (old.Spec.Get("taints").ToString() != node.Spec.Get("taints").ToString() || old.Metadata.Get("labels").ToString() != node.Metadata.Get("labels").ToString())
        {
            AddAll();
        }
    }

    private void AddAll()
    {
        foreach (KubeObject set in _sets.List())
        {
            _queue.Add(set.Key);
        }
    }
}
