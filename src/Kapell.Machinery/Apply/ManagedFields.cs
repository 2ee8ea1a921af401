using System.Text.Json.Nodes;
using Kapell.Machinery.Schemas;

namespace Kapell.Machinery.Apply;

/// <summary>
/// Keeps <c>metadata.managedFields</c> for requests that are not apply: create, update, patch (apimachinery managedfields
/// FieldManager.Update). Call it on the decoded object before defaults fill what the caller did not write.
/// </summary>
public static class ManagedFields
{
    internal static readonly FieldSet Stripped = Paths(
        "apiVersion", "kind", "metadata", "metadata.name", "metadata.namespace", "metadata.creationTimestamp", "metadata.selfLink",
        "metadata.uid", "metadata.clusterName", "metadata.generation", "metadata.managedFields", "metadata.resourceVersion");

    private static readonly FieldSet Status = Paths("status");
    private static readonly FieldSet Spec = Paths("spec");

    /// <summary>
    /// Records in <paramref name="new"/> what <paramref name="manager"/> changed against <paramref name="old"/> (null on create). An
    /// update that changes nothing leaves the list, times included, as it was.
    /// </summary>
    public static void OnUpdate(
        JsonObject? old, JsonObject @new, string manager, string apiVersion, string subresource, DateTimeOffset now, TypeSchema schema)
    {
        ManagerEntries entries = ManagerEntries.Decode(old, @new, subresource);
        JsonObject? metadata = @new.Object("metadata");
        if (old is not null && entries.All.Count == 0)
        {
            // Untracked since before: tracking begins with the first apply.
            metadata?.Remove("managedFields");
            return;
        }

        Update(entries, WithoutManagedFields(old), WithoutManagedFields(@new), ManagerId.Of(manager, false, apiVersion, subresource), apiVersion, now, schema);
        entries.WriteTo(@new);
    }

    internal static void Update(
        ManagerEntries entries, JsonObject old, JsonObject @new, ManagerId self, string apiVersion, DateTimeOffset now, TypeSchema schema)
    {
        Comparison comparison = TypedWalks.Compare(old, @new, new TypedPlace(schema.OpenValue, null));
        FieldSet changed = comparison.Changed;
        entries.TakeFromOthers(changed.Union(comparison.Removed), null);
        FieldSet taken = changed.RecursiveDifference(Ignored(self.Subresource, schema)).Difference(Stripped);
        if (!taken.IsEmpty)
        {
            entries.All.TryGetValue(self, out ManagerEntry? before);
            entries.Put(self, new ManagerEntry(apiVersion, KubeTime.Format(now), before is null ? taken : before.Set.Union(taken)));
        }

        entries.CapUpdaters();
    }

    /// <summary>What the strategies reset anyway, so nobody gets to own it here: status outside /status, spec inside.</summary>
    internal static FieldSet Ignored(string subresource, TypeSchema schema) =>
        schema.Field("status") is null ? new FieldSet() : subresource switch { "" => Status, "status" => Spec, _ => new FieldSet() };

    internal static JsonObject WithoutManagedFields(JsonObject? obj)
    {
        JsonObject copy = (JsonObject?)obj?.DeepClone() ?? [];
        copy.Object("metadata")?.Remove("managedFields");
        return copy;
    }

    private static FieldSet Paths(params ReadOnlySpan<string> paths)
    {
        FieldSet set = new();
        foreach (string path in paths)
        {
            set.Insert([.. path.Split('.').Select(PathElements.Field)]);
        }

        return set;
    }
}
