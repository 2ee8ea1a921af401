using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery.Schemas;

namespace Kapell.Machinery.Apply;

/// <summary>
/// Server-side apply (KEP-555; apimachinery managedfields, structured-merge-diff merge.Updater): lays a configuration over the live
/// object, takes what its manager applied before and no longer does, and refuses to change what others hold.
/// </summary>
public static class ServerSideApply
{
    private const string LastApplied = "kubectl.kubernetes.io/last-applied-configuration";
    private const string Kubectl = "kubectl";

    /// <param name="live">Null when the object does not exist: the result is then to be created.</param>
    /// <param name="config">Decoded by the schema, as sent by the caller, without defaults. Not changed.</param>
    /// <returns>A new object with its managedFields, to be defaulted, validated and stored.</returns>
    /// <exception cref="StatusException">Conflict with one cause a field, or BadRequest.</exception>
    public static JsonObject Apply(
        JsonObject? live, JsonObject config, string manager, bool force, string apiVersion, string subresource, DateTimeOffset now, TypeSchema schema)
    {
        string version = config.Text("apiVersion");
        if (version != apiVersion)
        {
            throw Bad($"Incorrect version specified in apply patch. Specified patch version: {version}, expected: {apiVersion}");
        }

        if (config["metadata"] is JsonObject given && given.ContainsKey("managedFields"))
        {
            throw Bad("metadata.managedFields must be nil");
        }

        TypedPlace root = new(schema.OpenValue, null);
        Check(config, root, FieldPath.Root, config, apiVersion);
        JsonObject before = ManagedFields.WithoutManagedFields(live);
        ManagerEntries entries = ManagerEntries.Read(live.Object("metadata").Array("managedFields")) ?? new ManagerEntries();
        if (live is not null && entries.All.Count == 0)
        {
            // The object was never tracked: what stands now belongs to nobody in particular.
            ManagerId first = ManagerId.Of("before-first-apply", false, apiVersion, subresource);
            ManagedFields.Update(entries, [], before, first, apiVersion, now, schema);
        }

        Run run = new(entries, before, config, ManagerId.Of(manager, true, apiVersion, subresource), apiVersion, now, schema);
        JsonObject result = run.Merged();
        List<(ManagerId Manager, FieldSet Set)> conflicts = force ? [] : run.Conflicts(result);
        if (conflicts.Count > 0 && manager == Kubectl)
        {
            conflicts = WithoutLastApplied(conflicts, before, apiVersion, root);
        }

        if (conflicts.Count > 0)
        {
            throw new StatusException(ApplyConflicts.ToStatus(conflicts));
        }

        run.Settle(result, create: live is null);
        if (manager == Kubectl)
        {
            RenewLastApplied(result, config);
        }

        return result;
    }

    // Keys must be there and name an item once: what identifies nothing cannot be owned.
    private static void Check(JsonNode? value, TypedPlace place, FieldPath path, JsonObject config, string apiVersion)
    {
        if (place.Shape == TypedShape.Items)
        {
            HashSet<string> seen = new(StringComparer.Ordinal);
            int index = 0;
            foreach (JsonNode? item in value as JsonArray ?? [])
            {
                string element = PathElements.OfItem(item, place.Field!, out string? missing);
                if (missing is not null)
                {
                    throw Untyped($"{Dotted(path)}: element {index}: associative list with keys has an element that omits key field \"{missing}\" (and doesn't have default value)");
                }

                if (!seen.Add(element))
                {
                    throw Untyped($"{Dotted(path)}: duplicate entries for key {PathElements.Show([element])}");
                }

                Check(item, place.Item, path.Index(index++), config, apiVersion);
            }
        }
        else if (place.Shape == TypedShape.Fields)
        {
            foreach ((string name, JsonNode? item) in value as JsonObject ?? [])
            {
                Check(item, place.Child(name), path.Child(name), config, apiVersion);
            }
        }

        StatusException Untyped(string why) => Bad(
            $"failed to create typed patch object ({config.Object("metadata").Text("namespace")}/{config.Object("metadata").Text("name")}; {apiVersion}, Kind={config.Text("kind")}): {why}");
    }

    private static string Dotted(FieldPath path) => "." + path;

    // Client-side apply's migration: what its annotation says was applied, and still stands so, "kubectl" may take over.
    private static List<(ManagerId Manager, FieldSet Set)> WithoutLastApplied(
        List<(ManagerId Manager, FieldSet Set)> conflicts, JsonObject live, string apiVersion, TypedPlace root)
    {
        string text = live.Object("metadata").Object("annotations").Text(LastApplied);
        JsonObject? applied = ParseQuietly(text);
        if (applied is null || applied.Text("apiVersion") != apiVersion)
        {
            return conflicts;
        }

        Comparison since = TypedWalks.Compare(applied, live, root);
        FieldSet allowed = TypedWalks.ToFieldSet(applied, root).Difference(since.Changed).Difference(since.Removed);
        return [.. conflicts.Select(c => (c.Manager, Set: c.Set.Difference(allowed))).Where(c => !c.Set.IsEmpty)];
    }

    // Someone who goes back to client-side apply finds the annotation as it should be.
    private static void RenewLastApplied(JsonObject result, JsonObject config)
    {
        JsonObject? annotations = result.Object("metadata").Object("annotations");
        if (annotations.Text(LastApplied).Length == 0)
        {
            return;
        }

        JsonObject applied = (JsonObject)config.DeepClone();
        applied.Object("metadata").Object("annotations")?.Remove(LastApplied);
        string text = applied.ToJsonString();
        if (text.Length <= ObjectMetaValidation.AnnotationBytesMax / 2)
        {
            annotations![LastApplied] = text + "\n";
        }
        else
        {
            annotations!.Remove(LastApplied);
        }
    }

    private static JsonObject? ParseQuietly(string text)
    {
        try
        {
            return text.Length == 0 ? null : JsonBytes.ParseObject(System.Text.Encoding.UTF8.GetBytes(text));
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static StatusException Bad(string message) => new(Status.BadRequest(message));

    /// <summary>One apply: the sets it works with.</summary>
    private sealed class Run(
        ManagerEntries entries, JsonObject live, JsonObject config, ManagerId self, string apiVersion, DateTimeOffset now, TypeSchema schema)
    {
        private readonly TypedPlace _root = new(schema.OpenValue, null);
        private readonly FieldSet _claimed = TypedWalks.ToFieldSet(config, new TypedPlace(schema.OpenValue, null))
            .RecursiveDifference(ManagedFields.Ignored(self.Subresource, schema));

        private readonly FieldSet? _last = entries.All.GetValueOrDefault(self)?.Set;
        private readonly string? _lastTime = entries.All.GetValueOrDefault(self)?.Time;

        public JsonObject Merged()
        {
            JsonObject merged = TypedWalks.Merge(live, config, _root);
            if (_last is null || _last.IsEmpty)
            {
                return merged;
            }

            // merge.Updater prune: take what was applied last time, give back what any applier claims, keep what was not ours.
            FieldSet last = TypedWalks.WithNamedFields(_last, _root);
            FieldSet owned = entries.All.Where(e => e.Key.Applied && e.Key != self).Aggregate(_claimed, (all, e) => all.Union(e.Value.Set));
            owned = TypedWalks.WithNamedFields(owned, _root);
            FieldSet all = TypedWalks.WithNamedFields(TypedWalks.ToFieldSet(merged, _root), _root);
            JsonObject pruned = TypedWalks.Remove(merged, last, _root);
            pruned = TypedWalks.Remove(merged, all.Difference(SetOf(pruned).Union(owned)), _root);
            return TypedWalks.Remove(merged, all.Difference(SetOf(pruned)).Intersection(last), _root);
        }

        public List<(ManagerId Manager, FieldSet Set)> Conflicts(JsonObject result) =>
            entries.ConflictsWith(TypedWalks.Compare(live, result, _root).Changed, self);

        public void Settle(JsonObject result, bool create)
        {
            Comparison comparison = TypedWalks.Compare(live, result, _root);
            entries.TakeFromOthers(comparison.Changed.Union(comparison.Removed), self);
            bool changed = create || !JsonNode.DeepEquals(live, result);
            FieldSet set = _claimed.Difference(ManagedFields.Stripped);
            entries.Put(self, new ManagerEntry(apiVersion, changed ? KubeTime.Format(now) : _lastTime, set));
            entries.WriteTo(result);
        }

        private FieldSet SetOf(JsonObject obj) => TypedWalks.WithNamedFields(TypedWalks.ToFieldSet(obj, _root), _root);
    }
}
