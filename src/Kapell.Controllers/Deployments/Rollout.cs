using System.Globalization;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Deployments;

/// <summary>One pass over one deployment: at most one step of a rollout, and the status that tells of it (sync.go, rolling.go, recreate.go).</summary>
internal sealed class Rollout(KubeClient client, EventRecorder events, Informer pods, TimeProvider time)
{
    private readonly ReplicaSetWriter _writer = new(client, events);

    /// <summary>The sets of one deployment during one pass; kept current as they are written.</summary>
    private sealed class Pass(KubeObject deployment, List<KubeObject> old, KubeObject? fresh)
    {
        public KubeObject Deployment { get; set; } = deployment;

        public List<KubeObject> Old { get; } = old;

        public KubeObject? New { get; set; } = fresh;

        public List<KubeObject> All => New is null ? Old : [.. Old, New];

        public void Put(KubeObject set)
        {
            int at = Old.FindIndex(s => s.Uid == set.Uid);
            if (at >= 0)
            {
                Old[at] = set;
            }
            else if (New?.Uid == set.Uid)
            {
                New = set;
            }
        }
    }

    /// <summary>An empty selector would own every pod of the namespace: such a deployment is only told off.</summary>
    public async Task RefuseAllAsync(KubeObject d, CancellationToken cancellation)
    {
        events.Warning(d, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.");
        if (d.Status.Long("observedGeneration") < d.Generation)
        {
            JsonObject status = d.Status.Object();
            status["observedGeneration"] = d.Generation;
            await WriteStatusAsync(d, status, cancellation);
        }
    }

    /// <summary>Answers when to look again though nothing happens, or null.</summary>
    public async Task<TimeSpan?> SyncAsync(KubeObject d, List<KubeObject> sets, CancellationToken cancellation)
    {
        KubeObject? fresh = Revisions.FindNew(d, sets);
        Pass pass = new(d, [.. sets.Where(s => s.Uid != fresh?.Uid)], fresh);
        if (d.IsDeleting)
        {
            return await SyncStatusAsync(pass, withProgress: false, cancellation);
        }

        await NotePauseAsync(pass, cancellation);
        bool paused = d.Spec.Bool("paused");
        if (paused || IsScaling(pass))
        {
            await EnsureNewAsync(pass, create: false, cancellation);
            await ScaleAsync(pass, cancellation);
            if (paused)
            {
                await CleanUpAsync(pass, cancellation);
            }

            return await SyncStatusAsync(pass, withProgress: false, cancellation);
        }

        await (d.Spec.Get("strategy").Text("type") == "Recreate" ? RecreateAsync(pass, cancellation) : RollAsync(pass, cancellation));
        return await SyncStatusAsync(pass, withProgress: true, cancellation);
    }

    private async Task RollAsync(Pass pass, CancellationToken cancellation)
    {
        await EnsureNewAsync(pass, create: true, cancellation);
        RolloutBounds bounds = RolloutBounds.Of(pass.Deployment);
        if (pass.New is { } fresh)
        {
            long size = fresh.Spec.Long("replicas", 1);
            long wanted = size > bounds.Replicas ? bounds.Replicas
                : RolloutMath.NewReplicas(bounds, recreate: false, size, pass.All.Sum(s => s.Spec.Long("replicas", 1)));
            if (wanted != size)
            {
                pass.Put(await _writer.ScaleAsync(pass.Deployment, fresh, wanted, tell: true, cancellation));
                return;
            }
        }

        List<KubeObject> active = [.. pass.Old.Where(IsActive)];
        List<(string Name, long Replicas)> down = RolloutMath.ScaleDownOld(
            bounds, [.. active.Select(Revisions.Size)], pass.New is { } n ? Revisions.Size(n) : null);
        foreach ((string name, long replicas) in down)
        {
            pass.Put(await _writer.ScaleAsync(pass.Deployment, active.First(s => s.Name == name), replicas, tell: true, cancellation));
        }

        if (down.Count == 0 && DeploymentStatus.IsComplete(pass.Deployment, pass.Deployment.Status.Object()))
        {
            await CleanUpAsync(pass, cancellation);
        }
    }

    private async Task RecreateAsync(Pass pass, CancellationToken cancellation)
    {
        await EnsureNewAsync(pass, create: false, cancellation);
        bool scaled = false;
        foreach (KubeObject old in pass.Old.Where(IsActive).ToArray())
        {
            pass.Put(await _writer.ScaleAsync(pass.Deployment, old, 0, tell: true, cancellation));
            scaled = true;
        }

        if (scaled || OldPodsRun(pass))
        {
            return;
        }

        await EnsureNewAsync(pass, create: true, cancellation);
        if (pass.New is { } fresh)
        {
            pass.Put(await _writer.ScaleAsync(pass.Deployment, fresh, pass.Deployment.Spec.Long("replicas", 1), tell: true, cancellation));
        }

        if (DeploymentStatus.IsComplete(pass.Deployment, pass.Deployment.Status.Object()))
        {
            await CleanUpAsync(pass, cancellation);
        }
    }

    private bool OldPodsRun(Pass pass) =>
        pass.Old.Any(s => s.Status.Long("replicas") > 0
            || pods.Store.ByIndex(Owners.ControllerIndexName, s.Uid).Any(p => !p.IsFinished()));

    /// <summary>Finds the set of the present template, brings it up to date, or makes it (getNewReplicaSet).</summary>
    private async Task EnsureNewAsync(Pass pass, bool create, CancellationToken cancellation)
    {
        KubeObject d = pass.Deployment;
        long revision = pass.Old.Select(Revisions.RevisionOf).DefaultIfEmpty(0).Max() + 1;
        if (pass.New is { } existing)
        {
            pass.New = existing = await _writer.RefreshAsync(d, existing, revision, cancellation);
            await NoteRevisionAsync(pass, Revisions.RevisionOf(existing), cancellation);
            if (DeploymentStatus.HasDeadline(d) && PodView.Condition(pass.Deployment, "Progressing").ValueKind == System.Text.Json.JsonValueKind.Undefined)
            {
                await NoteProgressAsync(pass, "True", "FoundNewReplicaSet", $"Found new replica set \"{existing.Name}\"", cancellation);
            }

            return;
        }

        if (!create)
        {
            return;
        }

        JsonObject wanted = ReplicaSetWriter.Make(d, revision, pass.Old.Sum(s => s.Spec.Long("replicas", 1)));
        string name = wanted["metadata"]!["name"]!.GetValue<string>(); // made by Make
        try
        {
            pass.New = await _writer.CreateAsync(wanted, d.Namespace, cancellation);
        }
        catch (StatusException e) when (e.IsAlreadyExists)
        {
            pass.New = await ResolveCollisionAsync(pass, name, e, cancellation);
        }
        catch (StatusException e) when (!PodControl.IsNamespaceTerminating(e))
        {
            string message = $"Failed to create new replica set \"{name}\": {e.Message}";
            if (DeploymentStatus.HasDeadline(d))
            {
                await NoteProgressAsync(pass, "False", "ReplicaSetCreateError", message, cancellation);
            }

            events.Warning(d, "ReplicaSetCreateError", message);
            throw;
        }

        long size = pass.New.Spec.Long("replicas", 1);
        if (size > 0)
        {
            events.Normal(d, "ScalingReplicaSet", $"Scaled up replica set {name} from 0 to {size}");
        }

        await NoteRevisionAsync(pass, revision, cancellation);
        if (DeploymentStatus.HasDeadline(d))
        {
            await NoteProgressAsync(pass, "True", "NewReplicaSetCreated", $"Created new replica set \"{name}\"", cancellation);
        }
    }

    // The name is taken: by our own set that the cache does not show yet, or by a hash collision, which a count in the hash avoids next time.
    private async Task<KubeObject> ResolveCollisionAsync(Pass pass, string name, StatusException conflict, CancellationToken cancellation)
    {
        KubeObject d = pass.Deployment;
        KubeObject taken = await client.GetAsync(Resources.ReplicaSets, new ObjectKey(d.Namespace, name), cancellation);
        if (Owners.IsControlledBy(taken, d) && Revisions.SameTemplate(d, taken))
        {
            return taken;
        }

        JsonObject status = d.Status.Object();
        status["collisionCount"] = d.Status.Long("collisionCount") + 1;
        await WriteStatusAsync(d, status, cancellation);
        throw conflict;
    }

    private async Task ScaleAsync(Pass pass, CancellationToken cancellation)
    {
        KubeObject d = pass.Deployment;
        RolloutBounds bounds = RolloutBounds.Of(d);
        if (ActiveOrLatest(pass) is { } only)
        {
            pass.Put(await _writer.ScaleAsync(d, only, bounds.Replicas, tell: true, cancellation));
            return;
        }

        if (pass.New is { } fresh && IsSaturated(bounds, fresh))
        {
            foreach (KubeObject old in pass.Old.Where(IsActive).ToArray())
            {
                pass.Put(await _writer.ScaleAsync(d, old, 0, tell: true, cancellation));
            }

            return;
        }

        if (d.Spec.Get("strategy").Text("type") == "Recreate")
        {
            return;
        }

        List<KubeObject> active = [.. pass.All.Where(IsActive)];
        foreach ((string name, long size) in RolloutMath.Proportional(bounds, [.. active.Select(Revisions.Size)], d.Status.Long("replicas")))
        {
            pass.Put(await _writer.ScaleAsync(d, active.First(s => s.Name == name), size, tell: true, cancellation));
        }
    }

    private static bool IsSaturated(RolloutBounds bounds, KubeObject set) =>
        set.Spec.Long("replicas", 1) == bounds.Replicas && Revisions.Number(set, Revisions.Desired) == bounds.Replicas
        && set.Status.Long("availableReplicas") == bounds.Replicas;

    private static KubeObject? ActiveOrLatest(Pass pass)
    {
        KubeObject[] active = [.. pass.All.Where(IsActive)];
        return active.Length switch
        {
            0 => pass.New ?? pass.Old.OrderByDescending(s => s.Created()).FirstOrDefault(),
            1 => active[0],
            _ => null,
        };
    }

    private static bool IsScaling(Pass pass) => pass.All.Any(s => IsActive(s) && s.Annotations.ContainsKey(Revisions.Desired)
        && Revisions.Number(s, Revisions.Desired) != pass.Deployment.Spec.Long("replicas", 1));

    private static bool IsActive(KubeObject set) => set.Spec.Long("replicas", 1) > 0;

    private async Task CleanUpAsync(Pass pass, CancellationToken cancellation)
    {
        long limit = pass.Deployment.Spec.Long("revisionHistoryLimit", 10);
        KubeObject[] alive = [.. pass.Old.Where(s => !s.IsDeleting).OrderBy(Revisions.RevisionOf).ThenBy(s => s.Created())];
        for (int i = 0; i < alive.Length - limit; i++)
        {
            KubeObject set = alive[i];
            if (set.Status.Long("replicas") != 0 || IsActive(set) || set.Generation > set.Status.Long("observedGeneration"))
            {
                continue;
            }

            await _writer.DeleteAsync(set, cancellation);
        }
    }

    private async Task NotePauseAsync(Pass pass, CancellationToken cancellation)
    {
        KubeObject d = pass.Deployment;
        string reason = PodView.Condition(d, "Progressing").Text("reason");
        if (!DeploymentStatus.HasDeadline(d) || reason == DeploymentStatus.TimedOut)
        {
            return;
        }

        bool paused = d.Spec.Bool("paused");
        if (paused && reason != "DeploymentPaused")
        {
            await NoteProgressAsync(pass, "Unknown", "DeploymentPaused", "Deployment is paused", cancellation);
        }
        else if (!paused && reason == "DeploymentPaused")
        {
            await NoteProgressAsync(pass, "Unknown", "DeploymentResumed", "Deployment is resumed", cancellation);
        }
    }

    private async Task NoteProgressAsync(Pass pass, string value, string reason, string message, CancellationToken cancellation)
    {
        JsonObject status = pass.Deployment.Status.Object();
        if (Conditions.Set(status, "Progressing", value, reason, message, time.GetUtcNow(), withUpdateTime: true))
        {
            pass.Deployment = await WriteStatusAsync(pass.Deployment, status, cancellation);
        }
    }

    private async Task NoteRevisionAsync(Pass pass, long revision, CancellationToken cancellation)
    {
        string text = revision.ToString(CultureInfo.InvariantCulture);
        if (pass.Deployment.Annotations.GetValueOrDefault(Revisions.Revision) == text)
        {
            return;
        }

        // Through the status endpoint, as upstream: it may change annotations, and the controller's role has no right to change the rest.
        JsonObject json = pass.Deployment.ToNode();
        json.Child("metadata").Child("annotations")[Revisions.Revision] = text;
        pass.Deployment = await client.UpdateStatusAsync(Resources.Deployments, pass.Deployment.Key, json, cancellation);
    }

    private async Task<TimeSpan?> SyncStatusAsync(Pass pass, bool withProgress, CancellationToken cancellation)
    {
        KubeObject d = pass.Deployment;
        DateTimeOffset now = time.GetUtcNow();
        JsonObject status = withProgress ? DeploymentStatus.WithProgress(d, pass.All, pass.New, now) : DeploymentStatus.Calculate(d, pass.All, pass.New, now);
        if (!JsonNode.DeepEquals(status, d.Status.Object()))
        {
            await WriteStatusAsync(d, status, cancellation);
        }

        return withProgress ? DeploymentStatus.Recheck(d, status, now) : null;
    }

    private Task<KubeObject> WriteStatusAsync(KubeObject d, JsonObject status, CancellationToken cancellation)
    {
        JsonObject json = d.ToNode();
        json["status"] = status;
        return client.UpdateStatusAsync(Resources.Deployments, d.Key, json, cancellation);
    }
}
