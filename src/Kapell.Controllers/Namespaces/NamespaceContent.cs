using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Namespaces;

/// <summary>What is left of a namespace after one pass of deleting, and how its conditions say so (status_condition_utils.go).</summary>
internal sealed class NamespaceContent
{
    public List<string> DiscoveryFailures { get; } = [];

    public List<string> Errors { get; } = [];

    /// <summary>Resource to number of objects.</summary>
    public SortedDictionary<string, int> Remaining { get; } = new(StringComparer.Ordinal);

    /// <summary>Finalizer to number of objects.</summary>
    public SortedDictionary<string, int> Finalizers { get; } = new(StringComparer.Ordinal);

    /// <summary>The longest time that what is left may ask for.</summary>
    public long GraceSeconds { get; private set; }

    public void AddRemaining(ApiResource resource, IReadOnlyList<KubeObject> left)
    {
        if (left.Count == 0)
        {
            return;
        }

        Remaining[$"{resource.Resource.Resource}.{resource.Resource.Group}"] = left.Count;
        foreach (KubeObject o in left)
        {
            foreach (System.Text.Json.JsonElement f in o.Metadata.Items("finalizers"))
            {
                string name = f.GetString() ?? "";
                Finalizers[name] = Finalizers.GetValueOrDefault(name) + 1;
            }

            long grace = o.Kind == "Pod" ? o.Metadata.Long("deletionGracePeriodSeconds", o.Spec.Long("terminationGracePeriodSeconds")) : 0;
            GraceSeconds = Math.Max(GraceSeconds, grace);
        }
    }

    public void WriteConditions(JsonObject status, DateTimeOffset now)
    {
        Write(status, "NamespaceDeletionDiscoveryFailure", DiscoveryFailures.Count > 0, "DiscoveryFailed",
            $"Discovery failed for some groups, {DiscoveryFailures.Count} failing: unable to retrieve the complete list of server APIs: {string.Join(", ", DiscoveryFailures)}",
            "ResourcesDiscovered", "All resources successfully discovered", now);
        Write(status, "NamespaceDeletionGroupVersionParsingFailure", false, "", "",
            "ParsedGroupVersions", "All legacy kube types successfully parsed", now);
        Write(status, "NamespaceDeletionContentFailure", Errors.Count > 0, "ContentDeletionFailed",
            $"Failed to delete all resource types, {Errors.Count} remaining: {string.Join(", ", Errors.Order(StringComparer.Ordinal))}",
            "ContentDeleted", "All content successfully deleted, may be waiting on finalization", now);
        Write(status, "NamespaceContentRemaining", Remaining.Count > 0, "SomeResourcesRemain",
            "Some resources are remaining: " + string.Join(", ", Remaining.Select(r => $"{r.Key} has {r.Value} resource instances")),
            "ContentRemoved", "All content successfully removed", now);
        Write(status, "NamespaceFinalizersRemaining", Finalizers.Count > 0, "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: " + string.Join(", ", Finalizers.Select(f => $"{f.Key} in {f.Value} resource instances")),
            "ContentHasNoFinalizers", "All content-preserving finalizers finished", now);
    }

    private static void Write(
        JsonObject status, string type, bool bad, string badReason, string badMessage, string goodReason, string goodMessage, DateTimeOffset now)
    {
        JsonObject? old = Conditions.Find(status, type);
        string message = bad ? badMessage : goodMessage;
        if (old is null || Conditions.Text(old, "status") != (bad ? "True" : "False") || Conditions.Text(old, "message") != message)
        {
            Conditions.Replace(status, type, bad ? "True" : "False", bad ? badReason : goodReason, message, now, withUpdateTime: false);
        }
    }
}
