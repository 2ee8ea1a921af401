using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.StatefulSets;

/// <summary>
/// Pods with lasting names, made and taken down in order (pkg/controller/statefulset). A name is its own guard against making a pod
/// twice: the server refuses the second. Claims of templates are made as objects; nothing binds them here.
/// </summary>
internal sealed class StatefulSetController : IReconciler<ObjectKey>
{
    private readonly KubeClient _client;
    private readonly Informer _sets;
    private readonly Informer _pods;
    private readonly Informer _revisions;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly Claims _claims;
    private readonly RevisionHistory _history;
    private readonly EventRecorder _events;
    private readonly TimeProvider _time;

    private StatefulSetController(ControllerContext context)
    {
        _client = context.ClientFor("statefulset-controller");
        _time = context.Time;
        _sets = context.Informers.For(Resources.StatefulSets);
        _pods = context.Informers.For(Resources.Pods);
        _revisions = context.Informers.For(Resources.ControllerRevisions);
        _queue = context.Queue();
        _events = context.RecorderFor("statefulset-controller", _client);
        _pods.AddIndex(Owners.ControllerIndexName, Owners.ControllerIndex);
        _revisions.AddIndex(Owners.ControllerIndexName, Owners.ControllerIndex);
        _claims = new Claims(_client, Resources.StatefulSets, Resources.Pods, _pods);
        _history = new RevisionHistory(_client, Resources.StatefulSets, _revisions, StatefulPods.HashLabel);
        _sets.AddHandler(InformerHandler.ForAll(s => _queue.Add(s.Key)));
        _pods.AddHandler(new InformerHandler { OnAdded = Notice, OnUpdated = (_, p) => Notice(p), OnDeleted = Notice });
    }

    public string Name => "statefulset-controller";

    public static IController Create(ControllerContext context)
    {
        StatefulSetController c = new(context);
        return new QueueController<ObjectKey>(
            c, c._queue, context.Options.ConcurrentStatefulSetSyncs, [c._sets, c._pods, c._revisions], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_sets.Get(key) is not { } set)
        {
            return ReconcileResult.Done;
        }

        LabelMatch selector = LabelMatch.Of(set.Spec.Get("selector"));
        List<KubeObject> pods = await _claims.ClaimAsync(set, selector, p => StatefulPods.Ordinal(set, p.Name) >= 0, cancellation);
        if (set.IsDeleting)
        {
            return ReconcileResult.Done;
        }

        RevisionState revisions = await _history.SyncAsync(set, selector, cancellation);
        KubeObject current = revisions.All.FirstOrDefault(r => r.Name == set.Status.Text("currentRevision")) ?? revisions.Update;
        StatefulStep step = StatefulPlan.Next(set, revisions.Update, pods, _time.GetUtcNow());
        Exception? failure = await ApplyAsync(set, current, revisions.Update, step, cancellation);
        JsonObject status = StatefulPlan.Status(set, current, revisions.Update, pods, step, _time.GetUtcNow());
        status["collisionCount"] = revisions.Collisions;
        await UpdateStatusAsync(set, status, cancellation);
        HashSet<string> live = [current.Name, .. pods.Select(StatefulPods.RevisionOf)];
        await _history.TruncateAsync(set, revisions, live, cancellation);
        if (failure is not null)
        {
            throw failure;
        }

        long minReady = set.Spec.Long("minReadySeconds");
        return minReady > 0 && pods.Any(p => p.IsReady() && !p.IsAvailable(minReady, _time.GetUtcNow()))
            ? ReconcileResult.After(TimeSpan.FromSeconds(minReady)) : ReconcileResult.Done;
    }

    private async Task<Exception?> ApplyAsync(KubeObject set, KubeObject current, KubeObject update, StatefulStep step, CancellationToken cancellation)
    {
        Exception? failure = null;
        async Task TryAsync(Func<Task> action)
        {
            try
            {
                await action();
            }
            catch (Exception e) when (e is StatusException or HttpRequestException or IOException or TimeoutException)
            {
                failure ??= e;
            }
        }

        foreach (int ordinal in step.Create)
        {
            await TryAsync(() => CreateAsync(set, StatefulPlan.RevisionFor(set, current, update, ordinal), ordinal, cancellation));
        }

        foreach (int ordinal in step.Pending)
        {
            await TryAsync(() => CreateClaimsAsync(set, ordinal, cancellation));
        }

        foreach ((KubeObject pod, int ordinal) in step.Repair)
        {
            await TryAsync(() => _client.PatchAsync(Resources.Pods, pod.Key, PatchKind.Strategic, StatefulPods.IdentityPatch(pod, ordinal), cancellation));
        }

        foreach (KubeObject pod in step.Delete)
        {
            await TryAsync(() => DeleteAsync(set, pod, cancellation));
        }

        return failure is StatusException s && PodControl.IsNamespaceTerminating(s) ? null : failure;
    }

    private async Task CreateAsync(KubeObject set, KubeObject revision, int ordinal, CancellationToken cancellation)
    {
        string name = StatefulPods.PodName(set, ordinal);
        await CreateClaimsAsync(set, ordinal, cancellation);
        try
        {
            await _client.CreateAsync(Resources.Pods, set.Namespace, StatefulPods.Make(set, revision, ordinal), cancellation);
            _events.Normal(set, "SuccessfulCreate", $"create Pod {name} in StatefulSet {set.Name} successful");
        }
        catch (StatusException e) when (e.IsAlreadyExists)
        {
            // Ours, and the cache is behind; or a stranger has the name: we are woken or try again when it changes.
            if (_pods.Get(new ObjectKey(set.Namespace, name)) is { } there && !Owners.IsControlledBy(there, set))
            {
                throw;
            }
        }
        catch (StatusException e)
        {
            if (!PodControl.IsNamespaceTerminating(e))
            {
                _events.Warning(set, "FailedCreate", $"create Pod {name} in StatefulSet {set.Name} failed error: {e.Message}");
            }

            throw;
        }
    }

    private async Task CreateClaimsAsync(KubeObject set, int ordinal, CancellationToken cancellation)
    {
        foreach (JsonObject claim in StatefulPods.Claims(set, ordinal))
        {
            string what = $"create Claim {claim["metadata"]!["name"]} Pod {StatefulPods.PodName(set, ordinal)} in StatefulSet {set.Name}"; // made with a name
            try
            {
                await _client.CreateAsync(Resources.PersistentVolumeClaims, set.Namespace, claim, cancellation);
                _events.Normal(set, "SuccessfulCreate", what + " success");
            }
            catch (StatusException e) when (e.IsAlreadyExists)
            {
                // A claim outlives its pod: the next pod of that ordinal takes it over.
            }
            catch (StatusException e)
            {
                _events.Warning(set, "FailedCreate", $"{what} failed error: {e.Message}");
                throw;
            }
        }
    }

    private async Task DeleteAsync(KubeObject set, KubeObject pod, CancellationToken cancellation)
    {
        try
        {
            await _client.DeleteAsync(Resources.Pods, pod.Key, new DeleteOptions { PreconditionUid = pod.Uid }, cancellation);
            _events.Normal(set, "SuccessfulDelete", $"delete Pod {pod.Name} in StatefulSet {set.Name} successful");
        }
        catch (StatusException e) when (e.IsNotFound || e.IsConflict)
        {
            // Gone already.
        }
        catch (StatusException e)
        {
            _events.Warning(set, "FailedDelete", $"delete Pod {pod.Name} in StatefulSet {set.Name} failed error: {e.Message}");
            throw;
        }
    }

    private async Task UpdateStatusAsync(KubeObject set, JsonObject status, CancellationToken cancellation)
    {
        if (!JsonNode.DeepEquals(status, set.Status.Object()))
        {
            JsonObject json = set.ToNode();
            json["status"] = status;
            await _client.UpdateStatusAsync(Resources.StatefulSets, set.Key, json, cancellation);
        }
    }

    private void Notice(KubeObject pod)
    {
        if (Owners.ControllerOf(pod) is { Kind: "StatefulSet" } r)
        {
            _queue.Add(new ObjectKey(pod.Namespace, r.Name));
        }
        else if (Owners.ControllerOf(pod) is null)
        {
            foreach (KubeObject set in _sets.Store.List(pod.Namespace).Where(s => LabelMatch.Of(s.Spec.Get("selector")).Matches(pod.Labels)))
            {
                _queue.Add(set.Key);
            }
        }
    }
}
