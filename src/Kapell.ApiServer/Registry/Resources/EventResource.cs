using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 Event: the stored form of every event, alive for one hour from its last write.</summary>
internal static class EventResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "Event",
        Plural = "events",
        Singular = "event",
        ShortNames = ["ev"],
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.Event",
        StorageKey = "events",
        TimeToLive = TimeSpan.FromHours(1),
        CreateOnUpdate = true,
        Default = Default,
        Validate = EventValidation.Core,
        SelectableFields = Fields("involvedObject"),
        Columns = EventColumns,
        Row = static (o, now) => Row(o, now, "involvedObject", "message"),
    };

    public static IReadOnlyList<PrinterColumn> EventColumns =>
    [
        Columns.Text("Last Seen", "When the event was last seen."),
        Columns.Text("Type", "Type of this event (Normal, Warning)."),
        Columns.Text("Reason", "Why the action was taken."),
        Columns.Text("Object", "The object the event is about."),
        Columns.Text("Subobject", "The part of the object the event is about.", 1),
        Columns.Text("Source", "The component that reported the event.", 1),
        Columns.Text("Message", "What happened."),
        Columns.Text("First Seen", "When the event was first seen.", 1),
        Columns.Text("Count", "How often the event was seen.", 1),
        new("Name", "string", "Name of the event.", 1, "name"),
    ];

    /// <summary>The field selectors of events; the object has another name in events.k8s.io.</summary>
    public static IReadOnlyDictionary<string, Func<JsonElement, string>> Fields(string about)
    {
        Dictionary<string, Func<JsonElement, string>> fields = new(StringComparer.Ordinal)
        {
            ["reason"] = static o => o.Text("reason"),
            ["reportingComponent"] = static o => o.Text("reportingComponent") is { Length: > 0 } c ? c : o.Text("reportingController"),
            ["type"] = static o => o.Text("type"),
        };
        foreach (string name in new[] { "kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath" })
        {
            fields[about + "." + name] = o => o.Get(about).Text(name);
        }

        if (about == "involvedObject")
        {
            // Of older events the source still names the component (upstream: event strategy ToSelectableFields).
            fields["source"] = static o => o.Get("source").Text("component") is { Length: > 0 } c ? c : o.Text("reportingComponent");
        }
        else
        {
            fields["reportingController"] = fields["reportingComponent"];
            fields.Remove("reportingComponent");
        }

        return fields;
    }

    public static object?[] Row(JsonElement e, DateTimeOffset now, string aboutField, string messageField)
    {
        bool core = aboutField == "involvedObject";
        string first = e.Text(core ? "firstTimestamp" : "deprecatedFirstTimestamp");
        string last = e.Text(core ? "lastTimestamp" : "deprecatedLastTimestamp");
        string time = e.Text("eventTime");
        long count = e.Long(core ? "count" : "deprecatedCount");
        JsonElement series = e.Get("series");
        first = first.Length == 0 ? time : first;
        last = last.Length == 0 ? first : last;
        if (series.ValueKind == JsonValueKind.Object)
        {
            last = series.Text("lastObservedTime");
            count = series.Long("count");
        }
        else if (count == 0)
        {
            count = 1;
        }

        JsonElement about = e.Get(aboutField);
        JsonElement source = e.Get(core ? "source" : "deprecatedSource");
        string component = source.Text("component") is { Length: > 0 } c ? c : e.Text(core ? "reportingComponent" : "reportingController");
        string host = source.Text("host") is { Length: > 0 } h ? h : e.Text("reportingInstance");
        return
        [
            HumanDuration.Since(last, now),
            e.Text("type"),
            e.Text("reason"),
            about.Text("kind").ToLowerInvariant() + "/" + about.Text("name"),
            about.Text("fieldPath"),
            host.Length == 0 ? component : component + ", " + host,
            e.Text(messageField).Trim(),
            HumanDuration.Since(first, now),
            count.ToString(),
            Columns.NameOf(e),
        ];
    }

    private static void Default(JsonObject e)
    {
        // Structs upstream, so always written.
        e.Ensure("involvedObject");
        e.Ensure("source");
        e.TryAdd("firstTimestamp", null);
        e.TryAdd("lastTimestamp", null);
        e.TryAdd("eventTime", null);
        e.Default("reportingComponent", "");
        e.Default("reportingInstance", "");
    }
}
