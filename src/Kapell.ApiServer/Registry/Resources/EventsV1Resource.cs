using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>events.k8s.io/v1 Event: the stored core events under other field names (pkg/apis/events/v1/conversion.go).</summary>
internal static class EventsV1Resource
{
    private static readonly (string Stored, string Served)[] Names =
    [
        ("message", "note"),
        ("involvedObject", "regarding"),
        ("source", "deprecatedSource"),
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"),
        ("count", "deprecatedCount"),
        ("reportingComponent", "reportingController"),
    ];

    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "events.k8s.io",
        Version = "v1",
        Kind = "Event",
        Plural = "events",
        Singular = "event",
        ShortNames = ["ev"],
        Namespaced = true,
        SchemaName = "io.k8s.api.events.v1.Event",
        StorageKey = "events",
        TimeToLive = EventResource.Definition.TimeToLive,
        CreateOnUpdate = true,
        Default = static e =>
        {
            e.Ensure("regarding");
            e.Ensure("deprecatedSource");
            e.TryAdd("deprecatedFirstTimestamp", null);
            e.TryAdd("deprecatedLastTimestamp", null);
            e.TryAdd("eventTime", null);
        },
        SelectableFields = EventResource.Fields("regarding"),
        Validate = EventValidation.Events,
        ValidateCreate = EventValidation.EventsCreate,
        ValidateUpdate = EventValidation.EventsUpdate,
        Columns = EventResource.EventColumns,
        Row = static (o, now) => EventResource.Row(o, now, "regarding", "note"),
        FromStorage = static e => Rename(e, "events.k8s.io/v1", static n => n.Stored, static n => n.Served),
        ToStorage = static e => Rename(e, "v1", static n => n.Served, static n => n.Stored),
    };

    private static void Rename(
        JsonObject e, string apiVersion, Func<(string Stored, string Served), string> from, Func<(string Stored, string Served), string> to)
    {
        e["apiVersion"] = apiVersion;
        foreach ((string, string) name in Names)
        {
            if (e.Remove(from(name), out JsonNode? value))
            {
                e[to(name)] = value;
            }
        }
    }
}
