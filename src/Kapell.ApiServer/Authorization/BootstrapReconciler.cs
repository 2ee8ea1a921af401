using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authorization;

/// <summary>
/// Writes the default RBAC objects at start: makes missing ones, gives back rules and subjects that were taken away, and leaves
/// alone what carries <c>autoupdate: "false"</c> (upstream: component-helpers auth/rbac/reconciliation).
/// </summary>
internal sealed class BootstrapReconciler(IObjectStore store, ResourceSet resources)
{
    private const string RbacGroup = "rbac.authorization.k8s.io";
    private const int ParallelMax = 8;

    public async Task RunAsync(CancellationToken cancel)
    {
        List<JsonObject> objects = BootstrapPolicy.All();
        foreach (IGrouping<string, JsonObject> kind in objects.GroupBy(o => o.Text("kind")).OrderBy(g => g.Key.EndsWith("Binding", StringComparison.Ordinal)))
        {
            if (resources.Find(RbacGroup, kind.Key.ToLowerInvariant() + "s") is not { } definition)
            {
                continue;
            }

            ObjectList there = await store.ListAsync(definition, "", cancel);
            Dictionary<ObjectKey, KubeObject> known = there.Items.ToDictionary(o => o.Key);
            await Parallel.ForEachAsync(
                kind, new ParallelOptions { MaxDegreeOfParallelism = ParallelMax, CancellationToken = cancel },
                async (wanted, stop) => await ReconcileAsync(definition, wanted, known, stop));
        }
    }

    private async Task ReconcileAsync(
        ResourceDefinition definition, JsonObject wanted, Dictionary<ObjectKey, KubeObject> known, CancellationToken cancel)
    {
        JsonObject metadata = wanted.Object("metadata")!;
        ObjectKey key = new(metadata.Text("namespace"), metadata.Text("name"));
        if (!known.TryGetValue(key, out KubeObject? there))
        {
            try
            {
                await store.CreateAsync(definition, (JsonObject)wanted.DeepClone(), cancel);
            }
            catch (StatusException e) when (e.IsAlreadyExists)
            {
                // Another server of this cluster was faster, with the same data.
            }

            return;
        }

        if (wanted["roleRef"] is { } role && !JsonNode.DeepEquals(role, there.ToNode()["roleRef"]))
        {
            if (there.Annotations.GetValueOrDefault(BootstrapPolicy.AutoUpdateAnnotation) != "false")
            {
                await store.DeleteAsync(definition, key, new Preconditions(Uid: there.Uid), cancel);
                await store.CreateAsync(definition, (JsonObject)wanted.DeepClone(), cancel);
            }

            return;
        }

        if (Merge(there.ToNode(), wanted) is not null)
        {
            await store.UpdateAsync(definition, key, null, current => Merge(current, wanted), cancel);
        }
    }

    /// <summary>The current object with everything wanted in it, or null when nothing is missing.</summary>
    internal static JsonObject? Merge(JsonObject current, JsonObject wanted)
    {
        JsonObject metadata = current.ObjectOrNew("metadata");
        if (metadata.Object("annotations").Text(BootstrapPolicy.AutoUpdateAnnotation) == "false")
        {
            return null;
        }

        bool changed = false;
        foreach (string map in (string[])["labels", "annotations"])
        {
            foreach ((string name, JsonNode? value) in wanted.Object("metadata").Object(map) ?? [])
            {
                if (metadata.Object(map).Text(name) != (string?)value)
                {
                    metadata.ObjectOrNew(map)[name] = (string?)value;
                    changed = true;
                }
            }
        }

        if (wanted["aggregationRule"] is { } aggregation)
        {
            // The rules of such a role are the aggregation's business.
            if (!JsonNode.DeepEquals(aggregation, current["aggregationRule"]))
            {
                current["aggregationRule"] = aggregation.DeepClone();
                changed = true;
            }
        }
        else if (wanted["rules"] is not null)
        {
            changed |= AddRules(current, wanted);
        }

        return changed | AddSubjects(current, wanted) ? current : null;
    }

    private static bool AddRules(JsonObject current, JsonObject wanted)
    {
        List<PolicyRule> missing = RuleCoverage.Missing(
            PolicyRule.ListFrom(KubeObject.From(current).Root), PolicyRule.ListFrom(KubeObject.From(wanted).Root));
        if (missing.Count == 0)
        {
            return false;
        }

        if (current.Array("rules") is not { } rules)
        {
            current["rules"] = rules = [];
        }

        missing.ForEach(m => rules.Add((JsonNode)m.ToJson()));
        return true;
    }

    private static bool AddSubjects(JsonObject current, JsonObject wanted)
    {
        bool changed = false;
        foreach (JsonNode? subject in wanted.Array("subjects") ?? [])
        {
            if (current.Array("subjects") is not { } subjects)
            {
                current["subjects"] = subjects = [];
            }

            if (!subjects.Any(s => JsonNode.DeepEquals(s, subject)))
            {
                subjects.Add(subject!.DeepClone());
                changed = true;
            }
        }

        return changed;
    }
}
