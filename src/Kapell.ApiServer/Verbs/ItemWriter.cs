using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.Storage;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Verbs;

/// <summary>One list's metadata.</summary>
internal sealed record ListMeta(long Revision, string Continue = "", long? Remaining = null);

/// <summary>Writes stored objects as one answer wants them: as they are, as metadata only, or as Table rows.</summary>
internal sealed class ItemWriter(ResourceDefinition definition, OutputFormat format, string includeObject, DateTimeOffset now)
{
    /// <summary>The transforms every resource can be asked for.</summary>
    public static bool Allows(Transform transform, string version) =>
        transform is Transform.Table or Transform.PartialMetadata or Transform.PartialMetadataList && version is "v1" or "v1beta1";

    public byte[] One(StoredObject stored)
    {
        ArrayBufferWriter<byte> buffer = new(stored.Json.Length + 256);
        One(buffer, stored, withColumns: true);
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>The object of an answer or event.</summary>
    public void One(IBufferWriter<byte> to, StoredObject stored, bool withColumns)
    {
        switch (format.Transform)
        {
            case Transform.Table:
                TableHead(to, null, withColumns, stored.Revision);
                TableRow(to, stored);
                to.Write("]}"u8);
                break;
            case Transform.PartialMetadata or Transform.PartialMetadataList:
                Partial(to, stored);
                break;
            default:
                to.Write(stored.Json);
                break;
        }
    }

    public byte[] List(IReadOnlyList<StoredObject> items, ListMeta meta)
    {
        ArrayBufferWriter<byte> buffer = new(items.Sum(i => i.Json.Length + 1) + 512);
        switch (format.Transform)
        {
            case Transform.Table:
                TableHead(buffer, meta, true, meta.Revision);
                Join(buffer, items, TableRow);
                break;
            case Transform.PartialMetadata or Transform.PartialMetadataList:
                ListHead(buffer, "PartialObjectMetadataList", "meta.k8s.io/" + format.Version, meta);
                Join(buffer, items, Partial);
                break;
            default:
                ListHead(buffer, definition.Kind + "List", definition.GroupVersionKind.ApiVersion, meta);
                Join(buffer, items, static (to, item) => to.Write(item.Json));
                break;
        }

        buffer.Write("]}"u8);
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>A bookmark's object: nothing but the revision.</summary>
    public byte[] Bookmark(long revision, bool initialEventsEnd)
    {
        JsonObject metadata = new() { ["resourceVersion"] = revision.ToString(), ["creationTimestamp"] = null };
        if (initialEventsEnd)
        {
            metadata["annotations"] = new JsonObject { ["k8s.io/initial-events-end"] = "true" };
        }

        JsonObject obj = format.Transform switch
        {
            Transform.Table => new JsonObject
            {
                ["kind"] = "Table", ["apiVersion"] = "meta.k8s.io/" + format.Version,
                ["metadata"] = new JsonObject { ["resourceVersion"] = revision.ToString() }, ["columnDefinitions"] = new JsonArray(),
                ["rows"] = new JsonArray((JsonNode)new JsonObject
                {
                    ["cells"] = new JsonArray(),
                    ["object"] = new JsonObject { ["kind"] = "PartialObjectMetadata", ["apiVersion"] = "meta.k8s.io/" + format.Version, ["metadata"] = metadata },
                }),
            },
            Transform.None => new JsonObject { ["kind"] = definition.Kind, ["apiVersion"] = definition.GroupVersionKind.ApiVersion, ["metadata"] = metadata },
            _ => new JsonObject { ["kind"] = "PartialObjectMetadata", ["apiVersion"] = "meta.k8s.io/" + format.Version, ["metadata"] = metadata },
        };
        return JsonBytes.Of(obj);
    }

    private static void Join(ArrayBufferWriter<byte> to, IReadOnlyList<StoredObject> items, Action<IBufferWriter<byte>, StoredObject> write)
    {
        for (int i = 0; i < items.Count; i++)
        {
            if (i > 0)
            {
                to.Write(","u8);
            }

            write(to, items[i]);
        }
    }

    private static void ListHead(ArrayBufferWriter<byte> to, string kind, string apiVersion, ListMeta meta)
    {
        to.Write(Encoding.UTF8.GetBytes($"{{\"kind\":\"{kind}\",\"apiVersion\":\"{apiVersion}\",\"metadata\":"));
        to.Write(JsonBytes.Of(MetaOf(meta)));
        to.Write(",\"items\":["u8);
    }

    private static JsonObject MetaOf(ListMeta meta)
    {
        JsonObject json = new() { ["resourceVersion"] = meta.Revision.ToString() };
        if (meta.Continue.Length > 0)
        {
            json["continue"] = meta.Continue;
        }

        if (meta.Remaining is { } remaining)
        {
            json["remainingItemCount"] = remaining;
        }

        return json;
    }

    private void TableHead(IBufferWriter<byte> to, ListMeta? meta, bool withColumns, long revision)
    {
        JsonArray columns = withColumns ? TableColumns.Definitions(definition) : [];
        to.Write(Encoding.UTF8.GetBytes($"{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/{format.Version}\",\"metadata\":"));
        to.Write(JsonBytes.Of(MetaOf(meta ?? new ListMeta(revision))));
        to.Write(",\"columnDefinitions\":"u8);
        to.Write(JsonBytes.Of(columns));
        to.Write(",\"rows\":["u8);
    }

    private void TableRow(IBufferWriter<byte> to, StoredObject stored)
    {
        using JsonDocument document = JsonDocument.Parse(stored.Json, new JsonDocumentOptions { MaxDepth = 128 });
        to.Write("{\"cells\":"u8);
        to.Write(JsonBytes.Of(TableColumns.Cells(definition, document.RootElement, now)));
        if (includeObject == "Object")
        {
            to.Write(",\"object\":"u8);
            to.Write(stored.Json);
        }
        else if (includeObject != "None")
        {
            to.Write(",\"object\":"u8);
            Partial(to, document.RootElement);
        }

        to.Write("}"u8);
    }

    private void Partial(IBufferWriter<byte> to, StoredObject stored)
    {
        using JsonDocument document = JsonDocument.Parse(stored.Json, new JsonDocumentOptions { MaxDepth = 128 });
        Partial(to, document.RootElement);
    }

    private void Partial(IBufferWriter<byte> to, JsonElement obj)
    {
        string version = format.Transform == Transform.None ? "v1" : format.Version;
        to.Write(Encoding.UTF8.GetBytes($"{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":"));
        to.Write(JsonMarshal.GetRawUtf8Value(obj.GetProperty("metadata")));
        to.Write("}"u8);
    }
}
