using System.Globalization;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Deployments;

/// <summary>Every write of the deployment controller to a replica set.</summary>
internal sealed class ReplicaSetWriter(KubeClient client, EventRecorder events)
{
    /// <summary>Scales, and keeps the annotations that remember for which size (scaleReplicaSet). Answers the set as it now is.</summary>
    public async Task<KubeObject> ScaleAsync(KubeObject d, KubeObject set, long size, bool tell, CancellationToken cancellation)
    {
        RolloutBounds bounds = RolloutBounds.Of(d);
        long old = set.Spec.Long("replicas", 1);
        string desired = Text(bounds.Replicas), max = Text(bounds.MaxTotal);
        bool annotated = set.Annotations.GetValueOrDefault(Revisions.Desired) == desired && set.Annotations.GetValueOrDefault(Revisions.Max) == max;
        if (old == size && annotated)
        {
            return set;
        }

        JsonObject json = set.ToNode();
        json.Child("spec")["replicas"] = size;
        JsonObject annotations = json.Child("metadata").Child("annotations");
        annotations[Revisions.Desired] = desired;
        annotations[Revisions.Max] = max;
        KubeObject written = await client.UpdateAsync(Resources.ReplicaSets, set.Key, json, cancellation);
        if (old != size && tell)
        {
            events.Normal(d, "ScalingReplicaSet", $"Scaled {(size > old ? "up" : "down")} replica set {set.Name} from {old} to {size}");
        }

        return written;
    }

    /// <summary>Brings annotations and minReadySeconds of the new set up to date; answers the same object when nothing changed.</summary>
    public async Task<KubeObject> RefreshAsync(KubeObject d, KubeObject set, long newRevision, CancellationToken cancellation)
    {
        Dictionary<string, string> annotations = Revisions.NewSetAnnotations(d, set.Annotations, newRevision, exists: true, RolloutBounds.Of(d));
        long minReady = d.Spec.Long("minReadySeconds");
        bool same = annotations.Count == set.Annotations.Count && annotations.All(a => set.Annotations.GetValueOrDefault(a.Key) == a.Value);
        if (same && minReady == set.Spec.Long("minReadySeconds"))
        {
            return set;
        }

        JsonObject json = set.ToNode();
        json.Child("metadata")["annotations"] = Documents.Map(annotations);
        json.Child("spec").SetOrRemove("minReadySeconds", minReady);
        return await client.UpdateAsync(Resources.ReplicaSets, set.Key, json, cancellation);
    }

    public Task<KubeObject> CreateAsync(JsonObject set, string ns, CancellationToken cancellation) =>
        client.CreateAsync(Resources.ReplicaSets, ns, set, cancellation);

    public async Task DeleteAsync(KubeObject set, CancellationToken cancellation)
    {
        try
        {
            await client.DeleteAsync(Resources.ReplicaSets, set.Key, new DeleteOptions { PreconditionUid = set.Uid }, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound || e.IsConflict)
        {
            // Already gone, or another of that name now.
        }
    }

    /// <summary>The document of a new set for the deployment's present template.</summary>
    public static JsonObject Make(KubeObject d, long newRevision, long allReplicas)
    {
        RolloutBounds bounds = RolloutBounds.Of(d);
        long? collisions = d.Status.Has("collisionCount") ? d.Status.Long("collisionCount") : null;
        string hash = TemplateHash.Of(Revisions.WithoutHash(d.Spec.Get("template")), collisions);
        JsonObject template = d.Spec.Get("template").Object();
        template.Child("metadata").Child("labels")[Revisions.HashLabel] = hash;
        template.Child("metadata").Remove("creationTimestamp");
        JsonObject selector = d.Spec.Get("selector").Object();
        selector.Child("matchLabels")[Revisions.HashLabel] = hash;
        bool recreate = d.Spec.Get("strategy").Text("type") == "Recreate";
        JsonObject spec = new()
        {
            ["replicas"] = RolloutMath.NewReplicas(bounds, recreate, 0, allReplicas), ["selector"] = selector, ["template"] = template,
        };
        spec.SetOrRemove("minReadySeconds", d.Spec.Long("minReadySeconds"));
        return new JsonObject
        {
            ["apiVersion"] = "apps/v1",
            ["kind"] = "ReplicaSet",
            ["metadata"] = new JsonObject
            {
                ["name"] = d.Name + "-" + hash,
                ["namespace"] = d.Namespace,
                ["labels"] = template["metadata"]!["labels"]!.DeepClone(), // both were made above
                ["annotations"] = Documents.Map(Revisions.NewSetAnnotations(d, new Dictionary<string, string>(), newRevision, exists: false, bounds)),
                ["ownerReferences"] = new JsonArray(Owners.ControllerReference(d)),
            },
            ["spec"] = spec,
        };
    }

    private static string Text(long n) => n.ToString(CultureInfo.InvariantCulture);
}
