using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Tables;

/// <summary>Columns and cells of a resource's Table; Name and Age where the definition says nothing (upstream: printers/tableconvertor).</summary>
internal static class TableColumns
{
    private static readonly PrinterColumn[] Default =
    [
        new("Name", "string", "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client" +
            " to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration" +
            " definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names", 0, "name"),
        new("Age", "string", "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be" +
            " set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC."),
    ];

    public static JsonArray Definitions(ResourceDefinition definition)
    {
        JsonArray columns = [];
        foreach (PrinterColumn column in definition.Columns ?? Default)
        {
            columns.Add((JsonNode)new JsonObject
            {
                ["name"] = column.Name, ["type"] = column.Type, ["format"] = column.Format.Length == 0 && column.Name == "Name" ? "name" : column.Format,
                ["description"] = column.Description, ["priority"] = column.Priority,
            });
        }

        return columns;
    }

    public static JsonArray Cells(ResourceDefinition definition, JsonElement obj, DateTimeOffset now)
    {
        object?[] cells = definition.Row is { } row && definition.Columns is not null
            ? row(obj, now)
            : [obj.Get("metadata").Text("name"), HumanDuration.Age(obj, now)];
        JsonArray json = [];
        foreach (object? cell in cells)
        {
            json.Add(cell switch
            {
                null => null,
                string s => JsonValue.Create(s),
                long l => JsonValue.Create(l),
                int i => JsonValue.Create(i),
                bool b => JsonValue.Create(b),
                JsonNode n => n,
                _ => (JsonNode)JsonValue.Create(cell.ToString() ?? ""),
            });
        }

        return json;
    }
}
