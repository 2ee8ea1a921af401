using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>discovery.k8s.io/v1 EndpointSlice.</summary>
internal static class EndpointSliceResource
{
    private const int ShownMax = 3;
    private const string Unset = "<unset>";

    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "discovery.k8s.io",
        Version = "v1",
        Kind = "EndpointSlice",
        Plural = "endpointslices",
        Singular = "endpointslice",
        Namespaced = true,
        SchemaName = "io.k8s.api.discovery.v1.EndpointSlice",
        StorageKey = "endpointslices",
        Default = static o =>
        {
            foreach (JsonObject port in o.Items("ports"))
            {
                port.Default("name", "");
                port.Default("protocol", "TCP");
            }
        },
        PrepareForCreate = static (o, _) => o.Ensure("metadata")["generation"] = 1L,
        PrepareForUpdate = PrepareForUpdate,
        Validate = EndpointsValidation.Slice,
        ValidateUpdate = static (updated, old) =>
        {
            List<FieldError> errors = [];
            Validating.Immutable(errors, FieldPath.New("addressType"), updated["addressType"], old["addressType"]);
            return errors;
        },
        Columns =
        [
            Columns.Name,
            Columns.Text("AddressType", "The type of address carried by this EndpointSlice."),
            Columns.Text("Ports", "The ports of the endpoints."),
            Columns.Text("Endpoints", "The addresses of the endpoints."),
            Columns.Age,
        ],
        Row = static (o, now) => [Columns.NameOf(o), o.Text("addressType"), Ports(o), Endpoints(o), HumanDuration.Age(o, now)],
    };

    private static void PrepareForUpdate(JsonObject updated, JsonObject old, RequestFacts facts)
    {
        bool same = updated["endpoints"].SameAs(old["endpoints"]) && updated["ports"].SameAs(old["ports"])
            && (updated.Obj("metadata").Obj("labels") ?? []).SameAs(old.Obj("metadata").Obj("labels") ?? []);
        Strategies.CountGeneration(updated, old, same);
    }

    private static string Ports(JsonElement o)
    {
        if (!o.Items("ports").Any())
        {
            return Unset;
        }

        List<string> shown = [];
        bool more = false;
        foreach (JsonElement port in o.Items("ports"))
        {
            if (shown.Count == ShownMax)
            {
                more = true;
                break;
            }

            shown.Add(port.Has("port") ? port.Long("port").ToString() : port.Text("name") is { Length: > 0 } name ? name : "*");
        }

        return string.Join(',', shown) + (more ? $" + {o.Items("ports").Count() - ShownMax} more..." : "");
    }

    private static string Endpoints(JsonElement o)
    {
        string[] all = [.. o.Items("endpoints").SelectMany(e => e.Items("addresses")).Select(a => a.GetString() ?? "")];
        string shown = string.Join(',', all.Take(ShownMax));
        return all.Length == 0 ? Unset : all.Length > ShownMax ? $"{shown} + {all.Length - ShownMax} more..." : shown;
    }
}
