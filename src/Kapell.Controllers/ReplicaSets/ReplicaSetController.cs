using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.ReplicaSets;

/// <summary>Keeps as many pods as a ReplicaSet asks for (pkg/controller/replicaset/replica_set.go).</summary>
internal sealed class ReplicaSetController : IReconciler<ObjectKey>
{
    private const int BurstReplicas = 500;
    private readonly KubeClient _client;
    private readonly Informer _replicaSets;
    private readonly Informer _pods;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly Expectations _expectations;
    private readonly PodControl _podControl;
    private readonly Claims _claims;
    private readonly TimeProvider _time;

    private ReplicaSetController(ControllerContext context)
    {
        _client = context.ClientFor("replicaset-controller");
        _time = context.Time;
        _replicaSets = context.Informers.For(Resources.ReplicaSets);
        _pods = context.Informers.For(Resources.Pods);
        _queue = context.Queue();
        _expectations = new Expectations(_time);
        _podControl = new PodControl(_client, context.RecorderFor("replicaset-controller", _client));
        _claims = new Claims(_client, Resources.ReplicaSets, Resources.Pods, _pods);
        _pods.AddIndex(Owners.ControllerIndexName, Owners.ControllerIndex);
        _replicaSets.AddIndex(Owners.ControllerIndexName, Owners.ControllerIndex);
        _replicaSets.AddHandler(new InformerHandler
        {
            OnAdded = rs => _queue.Add(rs.Key), OnUpdated = (_, rs) => _queue.Add(rs.Key),
            OnDeleted = rs =>
            {
                _expectations.Forget(rs.Key);
                _queue.Add(rs.Key);
            },
        });
        _pods.AddHandler(new InformerHandler { OnAdded = PodAdded, OnUpdated = PodUpdated, OnDeleted = PodDeleted });
    }

    public string Name => "replicaset-controller";

    public static IController Create(ControllerContext context)
    {
        ReplicaSetController c = new(context);
        return new QueueController<ObjectKey>(c, c._queue, context.Options.ConcurrentReplicaSetSyncs, [c._replicaSets, c._pods], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_replicaSets.Get(key) is not { } rs)
        {
            _expectations.Forget(key);
            return ReconcileResult.Done;
        }

        bool mayChange = _expectations.Satisfied(key);
        LabelMatch selector = LabelMatch.Of(rs.Spec.Get("selector"));
        List<KubeObject> claimed = await _claims.ClaimAsync(rs, selector, p => p.IsActive(), cancellation);
        List<KubeObject> pods = [.. claimed.Where(p => p.IsActive())];
        Exception? failure = null;
        (string, string)? condition = null;
        if (mayChange && !rs.IsDeleting)
        {
            long wanted = rs.Spec.Long("replicas", 1);
            failure = await ScaleAsync(rs, pods, wanted, cancellation);
            condition = failure is null ? null : (pods.Count < wanted ? "FailedCreate" : "FailedDelete", failure.Message);
        }

        KubeObject? updated = await UpdateStatusAsync(rs, pods, condition, mayChange, cancellation);
        if (failure is not null)
        {
            throw failure;
        }

        // A ready pod becomes available by time alone: nothing else would wake us (replica_set.go: MinReadySeconds).
        long minReady = rs.Spec.Long("minReadySeconds");
        long ready = (updated ?? rs).Status.Long("readyReplicas");
        return minReady > 0 && ready == rs.Spec.Long("replicas", 1) && (updated ?? rs).Status.Long("availableReplicas") != ready
            ? ReconcileResult.After(TimeSpan.FromSeconds(minReady))
            : ReconcileResult.Done;
    }

    private async Task<Exception?> ScaleAsync(KubeObject rs, List<KubeObject> pods, long wanted, CancellationToken cancellation)
    {
        long difference = wanted - pods.Count;
        if (difference > 0)
        {
            return await CreateAsync(rs, (int)Math.Min(difference, BurstReplicas), cancellation);
        }

        return difference < 0 ? await DeleteAsync(rs, pods, (int)Math.Min(-difference, BurstReplicas), cancellation) : null;
    }

    private async Task<Exception?> CreateAsync(KubeObject rs, int count, CancellationToken cancellation)
    {
        _expectations.ExpectCreations(rs.Key, count);
        (int succeeded, Exception? failure) = await PodControl.SlowStartAsync(count, async _ =>
        {
            JsonObject pod = PodControl.FromTemplate(rs.Spec.Get("template"), rs);
            await _podControl.CreateAsync(rs, pod, cancellation);
        });
        for (int i = succeeded; i < count; i++)
        {
            _expectations.CreationObserved(rs.Key);
        }

        return failure is StatusException e && PodControl.IsNamespaceTerminating(e) ? null : failure;
    }

    private async Task<Exception?> DeleteAsync(KubeObject rs, List<KubeObject> pods, int count, CancellationToken cancellation)
    {
        List<KubeObject> doomed = PodRanking.ToDelete(pods, Related(rs, pods), count);
        _expectations.ExpectDeletions(rs.Key, doomed.Select(p => p.Uid));
        Exception? failure = null;
        foreach (Task<(KubeObject Pod, Exception? Failure)> task in doomed.Select(p => DeleteOneAsync(rs, p, cancellation)).ToArray())
        {
            (KubeObject pod, Exception? e) = await task;
            if (e is not null)
            {
                _expectations.DeletionObserved(rs.Key, pod.Uid);
                failure ??= e;
            }
        }

        return failure;
    }

    private async Task<(KubeObject Pod, Exception? Failure)> DeleteOneAsync(KubeObject rs, KubeObject pod, CancellationToken cancellation)
    {
        try
        {
            if (!await _podControl.DeleteAsync(rs, pod, cancellation))
            {
                _expectations.DeletionObserved(rs.Key, pod.Uid);
            }

            return (pod, null);
        }
        catch (Exception e) when (e is StatusException or HttpRequestException or IOException or TimeoutException)
        {
            return (pod, e);
        }
    }

    // Pods of sibling sets under one Deployment count when looking for crowded nodes (replica_set.go: getIndirectlyRelatedPods).
    private List<KubeObject> Related(KubeObject rs, List<KubeObject> own)
    {
        if (Owners.ControllerOf(rs) is not { } controller)
        {
            return own;
        }

        return
        [
            .. _replicaSets.Store.ByIndex(Owners.ControllerIndexName, controller.Uid)
                .SelectMany(sibling => _pods.Store.ByIndex(Owners.ControllerIndexName, sibling.Uid)),
        ];
    }

    private async Task<KubeObject?> UpdateStatusAsync(
        KubeObject rs, List<KubeObject> pods, (string, string)? failure, bool counted, CancellationToken cancellation)
    {
        // What was not tried this time says nothing about failure: the old condition stays.
        JsonObject status = ReplicaSetStatus.Of(rs, pods, counted ? failure : Failure(rs), _time.GetUtcNow());
        if (JsonNode.DeepEquals(status, rs.Status.Object()))
        {
            return null;
        }

        JsonObject changed = rs.ToNode();
        changed["status"] = status;
        return await _client.UpdateStatusAsync(Resources.ReplicaSets, rs.Key, changed, cancellation);
    }

    private static (string, string)? Failure(KubeObject rs)
    {
        System.Text.Json.JsonElement c = PodView.Condition(rs, "ReplicaFailure");
        return c.ValueKind == System.Text.Json.JsonValueKind.Object ? (c.Text("reason"), c.Text("message")) : null;
    }

    private KubeObject? OwnerOf(KubeObject pod) =>
        Owners.ControllerOf(pod) is { Kind: "ReplicaSet" } r && _replicaSets.Get(new ObjectKey(pod.Namespace, r.Name)) is { } rs && rs.Uid == r.Uid ? rs : null;

    private void PodAdded(KubeObject pod)
    {
        if (pod.IsDeleting)
        {
            // After a restart a pod may show up for the first time while it is already going.
            PodDeleted(pod);
            return;
        }

        if (OwnerOf(pod) is { } rs)
        {
            _expectations.CreationObserved(rs.Key);
            _queue.Add(rs.Key);
        }
        else if (Owners.ControllerOf(pod) is null)
        {
            AddMatching(pod);
        }
    }

    private void PodUpdated(KubeObject old, KubeObject pod)
    {
        if (pod.IsDeleting)
        {
            // The slot is free as soon as the pod is going, not when it is gone.
            PodDeleted(pod);
            return;
        }

        KubeObject? before = OwnerOf(old);
        KubeObject? now = OwnerOf(pod);
        if (before is not null && before.Uid != now?.Uid)
        {
            _queue.Add(before.Key);
        }

        if (now is not null)
        {
            _queue.Add(now.Key);
            long minReady = now.Spec.Long("minReadySeconds");
            if (minReady > 0 && !old.IsReady() && pod.IsReady())
            {
                // One second more than asked: times are whole seconds.
                _queue.AddAfter(now.Key, TimeSpan.FromSeconds(minReady + 1));
            }
        }
        else if (Owners.ControllerOf(pod) is null)
        {
            AddMatching(pod);
        }
    }

    private void PodDeleted(KubeObject pod)
    {
        if (OwnerOf(pod) is { } rs)
        {
            _expectations.DeletionObserved(rs.Key, pod.Uid);
            _queue.Add(rs.Key);
        }
    }

    private void AddMatching(KubeObject pod)
    {
        foreach (KubeObject rs in _replicaSets.Store.List(pod.Namespace).Where(rs => LabelMatch.Of(rs.Spec.Get("selector")).Matches(pod.Labels)))
        {
            _queue.Add(rs.Key);
        }
    }
}
