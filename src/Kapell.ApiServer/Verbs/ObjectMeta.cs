using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Verbs;

/// <summary>What the server itself writes into <c>metadata</c> (upstream: registry/rest/meta.go, create.go, update.go).</summary>
internal static class ObjectMeta
{
    public const string OrphanFinalizer = "orphan";
    public const string ForegroundFinalizer = "foregroundDeletion";
    private const int NameMax = 63;
    private const int SuffixLength = 5;

    public static JsonObject Of(JsonObject obj)
    {
        if (obj["metadata"] is JsonObject metadata)
        {
            return metadata;
        }

        JsonObject made = [];
        obj["metadata"] = made;
        return made;
    }

    /// <summary>What a creator may not choose.</summary>
    public static void WipeSystemFields(JsonObject metadata)
    {
        foreach (string field in (ReadOnlySpan<string>)["creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"])
        {
            metadata.Remove(field);
        }
    }

    /// <exception cref="StatusException">400: the body's namespace is another one.</exception>
    public static void EnsureNamespace(JsonObject metadata, ResourceDefinition definition, string requested)
    {
        string own = metadata.Text("namespace");
        if (!definition.Namespaced)
        {
            metadata.Remove("namespace");
            return;
        }

        if (own.Length > 0 && own != requested)
        {
            throw new StatusException(Status.BadRequest("the namespace of the provided object does not match the namespace sent on the request"));
        }

        metadata["namespace"] = requested;
    }

    public static string GenerateName(string prefix, Func<int, int> below)
    {
        // Without vowels and look-alikes, so that no words come out (apimachinery: util/rand).
        const string Letters = "bcdfghjklmnpqrstvwxz2456789";
        Span<char> suffix = stackalloc char[SuffixLength];
        for (int i = 0; i < suffix.Length; i++)
        {
            suffix[i] = Letters[below(Letters.Length)];
        }

        return string.Concat(prefix.AsSpan(0, Math.Min(prefix.Length, NameMax - SuffixLength)), suffix);
    }

    /// <summary>An update cannot change these; leaving them out keeps them (validation.ValidateObjectMetaAccessorUpdate).</summary>
    public static void CarryOver(JsonObject metadata, JsonObject old)
    {
        if (metadata.Text("uid").Length == 0)
        {
            Copy(metadata, old, "uid");
        }

        Copy(metadata, old, "creationTimestamp");
        if (old["deletionTimestamp"] is not null)
        {
            Copy(metadata, old, "deletionTimestamp");
        }

        if (metadata["deletionGracePeriodSeconds"] is null)
        {
            Copy(metadata, old, "deletionGracePeriodSeconds");
        }

        metadata.Remove("selfLink");
    }

    public static void Copy(JsonObject to, JsonObject from, string field)
    {
        if (from[field] is { } value)
        {
            to[field] = value.DeepClone();
        }
        else
        {
            to.Remove(field);
        }
    }

    public static NameCheck NameCheckOf(ResourceDefinition definition) => definition.NameRule switch
    {
        NameRule.Dns1123Label => NameChecks.Dns1123Label,
        NameRule.Dns1035Label => NameChecks.Dns1035Label,
        NameRule.PathSegment => NameChecks.PathSegment,
        _ => NameChecks.Dns1123Subdomain,
    };

    public static List<string> Finalizers(JsonObject metadata) =>
        (metadata["finalizers"] as JsonArray)?.Select(f => JsonNodeReading.AsText(f) ?? "").ToList() ?? [];

    public static void SetFinalizers(JsonObject metadata, IReadOnlyList<string> finalizers)
    {
        if (finalizers.Count == 0)
        {
            metadata.Remove("finalizers");
            return;
        }

        JsonArray array = [];
        foreach (string finalizer in finalizers)
        {
            array.Add((JsonNode)JsonValue.Create(finalizer));
        }

        metadata["finalizers"] = array;
    }

    /// <summary>Built-in kinds take finalizers with a domain, or those the system itself knows (core validation: validateKubeFinalizerName).</summary>
    public static void KubeFinalizers(List<FieldError> errors, JsonObject metadata)
    {
        int i = 0;
        foreach (string finalizer in Finalizers(metadata))
        {
            FieldPath path = FieldPath.New("metadata", "finalizers").Index(i++);
            if (!finalizer.Contains('/') && finalizer is not ("kubernetes" or OrphanFinalizer or ForegroundFinalizer))
            {
                errors.Add(FieldError.Invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified"));
            }
        }
    }

    /// <summary>Drops owner references that say the same twice; the warning upstream gives, or null (endpoints/handlers: dedupOwnerReferences).</summary>
    public static string? DropOwnersSaidTwice(JsonObject metadata)
    {
        if (metadata["ownerReferences"] is not JsonArray { Count: > 1 } owners)
        {
            return null;
        }

        List<JsonNode?> kept = [];
        List<string> dropped = [];
        foreach (JsonNode? owner in owners)
        {
            if (kept.Any(k => JsonNode.DeepEquals(k, owner)))
            {
                dropped.Add((owner as JsonObject).Text("uid"));
            }
            else
            {
                kept.Add(owner);
            }
        }

        if (dropped.Count == 0)
        {
            return null;
        }

        metadata["ownerReferences"] = new JsonArray([.. kept.Select(k => k?.DeepClone())]);
        return ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such "
            + "requests as early as 1.24; please fix your requests; duplicate UID(s) observed: " + string.Join(", ", dropped);
    }
}
