using System.Text.Json.Nodes;

namespace Kapell.Machinery.Apply;

/// <summary>Who an entry of managedFields belongs to. An applier is the same whatever version it applies (ApiVersion is then empty).</summary>
internal readonly record struct ManagerId(string Manager, bool Applied, string ApiVersion, string Subresource)
{
    public static ManagerId Of(string manager, bool applied, string apiVersion, string subresource) =>
        new(manager.Length == 0 ? "unknown" : manager, applied, applied ? "" : apiVersion, subresource);

    /// <summary>As conflict messages name it: <c>"kubectl" using apps/v1</c>.</summary>
    public override string ToString()
    {
        string text = "\"" + Manager + "\"" + (Subresource.Length > 0 ? $" with subresource \"{Subresource}\"" : "");
        return Applied ? text : text + " using " + ApiVersion;
    }
}

/// <summary>What one manager holds.</summary>
internal sealed record ManagerEntry(string ApiVersion, string? Time, FieldSet Set);

/// <summary>The managedFields of an object, by manager (apimachinery managedfields). Mutable; entries are replaced, not changed.</summary>
internal sealed class ManagerEntries
{
    /// <summary>apimachinery: DefaultMaxUpdateManagers. More are merged into the oldest.</summary>
    private const int UpdatersMax = 10;

    private const string OldUpdates = "ancient-changes";

    public Dictionary<ManagerId, ManagerEntry> All { get; } = [];

    /// <summary>
    /// From the object of the request, or from the live one when the request says nothing (clients that do not know managedFields
    /// must not lose them) or nonsense. A single empty entry asks to start anew. A subresource never sets managedFields.
    /// </summary>
    public static ManagerEntries Decode(JsonObject? live, JsonObject requested, string subresource)
    {
        JsonArray? liveList = live.Object("metadata").Array("managedFields");
        if (subresource.Length > 0)
        {
            return Read(liveList) ?? new ManagerEntries();
        }

        JsonArray? list = requested.Object("metadata").Array("managedFields");
        if (list is [JsonObject { Count: 0 }])
        {
            return new ManagerEntries();
        }

        ManagerEntries? read = Read(list);
        return read is null || read.All.Count == 0 ? Read(liveList) ?? new ManagerEntries() : read;
    }

    /// <summary>Null when an entry is malformed.</summary>
    public static ManagerEntries? Read(JsonArray? list)
    {
        ManagerEntries entries = new();
        foreach (JsonNode? node in list ?? [])
        {
            string operation = node.Text("operation");
            string apiVersion = node.Text("apiVersion");
            if (operation is not ("Apply" or "Update") || apiVersion.Length == 0 || node.Text("fieldsType") != "FieldsV1"
                || FieldSet.FromJson(node.Object("fieldsV1") ?? []) is not { } set)
            {
                return null;
            }

            ManagerId id = ManagerId.Of(node.Text("manager"), operation == "Apply", apiVersion, node.Text("subresource"));
            string time = node.Text("time");
            entries.All[id] = new ManagerEntry(apiVersion, time.Length == 0 ? null : time, set);
        }

        return entries;
    }

    /// <summary>Writes the list into the object, in upstream's order; no entry, no list.</summary>
    public void WriteTo(JsonObject obj)
    {
        JsonArray list = [];
        IEnumerable<KeyValuePair<ManagerId, ManagerEntry>> sorted = All
            .OrderBy(e => e.Key.Applied ? 0 : 1)
            .ThenBy(e => e.Value.Time ?? "", StringComparer.Ordinal)
            .ThenBy(e => e.Key.Manager, StringComparer.Ordinal)
            .ThenBy(e => e.Value.ApiVersion, StringComparer.Ordinal)
            .ThenBy(e => e.Key.Subresource, StringComparer.Ordinal);
        foreach ((ManagerId id, ManagerEntry entry) in sorted)
        {
            JsonObject item = new()
            {
                ["manager"] = id.Manager,
                ["operation"] = id.Applied ? "Apply" : "Update",
                ["apiVersion"] = entry.ApiVersion,
            };
            if (entry.Time is not null)
            {
                item["time"] = entry.Time;
            }

            item["fieldsType"] = "FieldsV1";
            item["fieldsV1"] = entry.Set.ToJson();
            if (id.Subresource.Length > 0)
            {
                item["subresource"] = id.Subresource;
            }

            list.Add((JsonNode)item);
        }

        if (list.Count > 0)
        {
            obj.ObjectOrNew("metadata")["managedFields"] = list;
        }
        else
        {
            obj.Object("metadata")?.Remove("managedFields");
        }
    }

    /// <summary>What others hold of the changed paths, per manager.</summary>
    public List<(ManagerId Manager, FieldSet Set)> ConflictsWith(FieldSet changed, ManagerId self) =>
        [.. All.Where(e => e.Key != self).Select(e => (e.Key, e.Value.Set.Intersection(changed))).Where(c => !c.Item2.IsEmpty)];

    /// <summary>Others lose what was changed or removed.</summary>
    public void TakeFromOthers(FieldSet lost, ManagerId? self)
    {
        foreach ((ManagerId id, ManagerEntry entry) in All.ToArray())
        {
            if (id != self)
            {
                Put(id, entry with { Set = entry.Set.Difference(lost) });
            }
        }
    }

    /// <summary>An entry that holds nothing goes.</summary>
    public void Put(ManagerId id, ManagerEntry entry)
    {
        if (entry.Set.IsEmpty)
        {
            All.Remove(id);
        }
        else
        {
            All[id] = entry;
        }
    }

    public void CapUpdaters()
    {
        ManagerId[] updaters = [.. All.Where(e => !e.Key.Applied)
            .OrderBy(e => e.Value.Time ?? "", StringComparer.Ordinal).ThenBy(e => e.Key.Manager, StringComparer.Ordinal).Select(e => e.Key)];
        int count = updaters.Length;
        HashSet<string> versions = [];
        foreach (ManagerId id in updaters)
        {
            if (count <= UpdatersMax)
            {
                return;
            }

            ManagerEntry entry = All[id];
            ManagerId bucket = ManagerId.Of(OldUpdates, applied: false, entry.ApiVersion, "");
            if (id == bucket)
            {
                continue;
            }

            All.Remove(id);
            All.TryGetValue(bucket, out ManagerEntry? old);
            count -= versions.Add(entry.ApiVersion) && old is null ? 0 : 1;
            All[bucket] = entry with { Set = old is null ? entry.Set : entry.Set.Union(old.Set) };
        }
    }
}
