using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Machinery;

namespace Kapell.Controllers.Shared;

/// <summary>The revision a workload is to be at, the collisions met while naming it, and all revisions it has, that one included.</summary>
internal sealed record RevisionState(KubeObject Update, long Collisions, IReadOnlyList<KubeObject> All);

/// <summary>
/// A workload's templates over time as ControllerRevisions: each holds a patch that brings its template back, which is what
/// "kubectl rollout undo" sends (pkg/controller/history, daemon/update.go, stateful_set_control.go).
/// </summary>
/// <param name="hashLabel">The label a revision carries its hash in.</param>
internal sealed class RevisionHistory(KubeClient client, GroupVersionResource ownerResource, Informer revisions, string hashLabel)
{
    private readonly Claims _claims = new(client, ownerResource, Resources.ControllerRevisions, revisions);

    public static string HashOf(KubeObject revision, string hashLabel) => revision.Labels.GetValueOrDefault(hashLabel, "");

    public static long Number(KubeObject revision) => revision.Root.Long("revision");

    /// <summary>The template a revision brings back.</summary>
    public static JsonObject Template(KubeObject revision)
    {
        JsonObject template = revision.Root.Get("data", "spec", "template").Object();
        template.Remove("$patch");
        return template;
    }

    /// <summary>What is stored: a strategic merge patch that replaces the template, in canonical form.</summary>
    public static JsonNode Patch(JsonElement template)
    {
        JsonObject replace = template.Object();
        replace["$patch"] = "replace";
        return Documents.Canonical(new JsonObject { ["spec"] = new JsonObject { ["template"] = replace } })!; // not null in, not null out
    }

    public static bool Matches(KubeObject revision, JsonNode patch) => JsonNode.DeepEquals(Documents.Canonical(revision.Root.Get("data").Node()), patch);

    /// <summary>Finds or makes the revision of the present template; one that comes back gets the newest number.</summary>
    public async Task<RevisionState> SyncAsync(KubeObject owner, LabelMatch selector, CancellationToken cancellation)
    {
        List<KubeObject> all = await _claims.ClaimAsync(owner, selector, _ => true, cancellation);
        all.Sort(static (a, b) => Number(a) != Number(b) ? Number(a).CompareTo(Number(b)) : string.CompareOrdinal(a.Name, b.Name));
        JsonNode patch = Patch(owner.Spec.Get("template"));
        long collisions = owner.Status.Long("collisionCount");
        KubeObject? same = all.FindLast(r => Matches(r, patch));
        long next = all.Where(r => r != same).Select(Number).DefaultIfEmpty(0).Max() + 1;
        if (same is not null)
        {
            KubeObject kept = Number(same) >= next ? same : await RenumberAsync(same, next, cancellation);
            return new RevisionState(kept, collisions, [.. all.Where(r => r != same), kept]);
        }

        (KubeObject made, collisions) = await CreateAsync(owner, patch, next, collisions, cancellation);
        return new RevisionState(made, collisions, [.. all, made]);
    }

    /// <summary>Deletes the oldest revisions that are not <paramref name="live"/> (by name) beyond the limit.</summary>
    public async Task TruncateAsync(KubeObject owner, RevisionState state, IReadOnlySet<string> live, CancellationToken cancellation)
    {
        long limit = owner.Spec.Long("revisionHistoryLimit", 10);
        KubeObject[] old = [.. state.All.Where(r => r.Name != state.Update.Name && !live.Contains(r.Name)).OrderBy(Number)];
        foreach (KubeObject revision in old.Take((int)Math.Max(0, old.Length - limit)))
        {
            try
            {
                await client.DeleteAsync(Resources.ControllerRevisions, revision.Key, new DeleteOptions { PreconditionUid = revision.Uid }, cancellation);
            }
            catch (StatusException e) when (e.IsNotFound || e.IsConflict)
            {
                // Gone already.
            }
        }
    }

    private async Task<KubeObject> RenumberAsync(KubeObject revision, long number, CancellationToken cancellation)
    {
        JsonObject json = revision.ToNode();
        json["revision"] = number;
        return await client.UpdateAsync(Resources.ControllerRevisions, revision.Key, json, cancellation);
    }

    private async Task<(KubeObject Revision, long Collisions)> CreateAsync(
        KubeObject owner, JsonNode patch, long number, long collisions, CancellationToken cancellation)
    {
        while (true)
        {
            string hash = TemplateHash.Of(patch, collisions > 0 ? collisions : null);
            JsonObject document = Make(owner, patch, number, hash, hashLabel);
            try
            {
                return (await client.CreateAsync(Resources.ControllerRevisions, owner.Namespace, document, cancellation), collisions);
            }
            catch (StatusException e) when (e.IsAlreadyExists)
            {
                // Ours, and the cache is behind; or another template of the same hash: then the next name is tried.
                KubeObject there = await client.GetAsync(Resources.ControllerRevisions, new ObjectKey(owner.Namespace, owner.Name + "-" + hash), cancellation);
                if (Matches(there, patch) && Owners.IsControlledBy(there, owner))
                {
                    return (there, collisions);
                }

                collisions++;
            }
        }
    }

    private static JsonObject Make(KubeObject owner, JsonNode patch, long number, string hash, string hashLabel)
    {
        JsonObject labels = owner.Spec.Get("template", "metadata", "labels").Object();
        labels[hashLabel] = hash;
        JsonObject metadata = new()
        {
            ["name"] = owner.Name + "-" + hash, ["namespace"] = owner.Namespace, ["labels"] = labels,
            ["ownerReferences"] = new JsonArray(Owners.ControllerReference(owner)),
        };
        if (owner.Annotations.Count > 0)
        {
            metadata["annotations"] = Documents.Map(owner.Annotations);
        }

        return new JsonObject
        {
            ["apiVersion"] = "apps/v1", ["kind"] = "ControllerRevision", ["metadata"] = metadata, ["data"] = patch.DeepClone(), ["revision"] = number,
        };
    }
}
