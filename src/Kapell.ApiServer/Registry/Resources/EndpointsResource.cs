using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 Endpoints.</summary>
internal static class EndpointsResource
{
    private const int ShownMax = 3;

    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "Endpoints",
        Plural = "endpoints",
        Singular = "endpoints",
        ShortNames = ["ep"],
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.Endpoints",
        StorageKey = "services/endpoints",
        CreateOnUpdate = true,
        Default = static o =>
        {
            foreach (JsonObject port in o.Items("subsets").SelectMany(s => s.Items("ports")))
            {
                port.DefaultText("protocol", "TCP");
            }
        },
        Validate = EndpointsValidation.Endpoints,
        Warnings = static _ => ["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"],
        Columns = [Columns.Name, Columns.Text("Endpoints", "The addresses and ports behind the service."), Columns.Age],
        Row = static (o, now) => [Columns.NameOf(o), Format(o), HumanDuration.Age(o, now)],
    };

    private static string Format(JsonElement endpoints)
    {
        List<string> all = [];
        foreach (JsonElement subset in endpoints.Items("subsets"))
        {
            JsonElement[] ports = [.. subset.Items("ports")];
            foreach (JsonElement address in subset.Items("addresses"))
            {
                string ip = address.Text("ip");
                if (ports.Length == 0)
                {
                    all.Add(ip);
                }

                all.AddRange(ports.Select(p => (ip.Contains(':') ? "[" + ip + "]" : ip) + ":" + p.Long("port")));
            }
        }

        string shown = string.Join(',', all.Take(ShownMax));
        return all.Count == 0 ? Columns.None : all.Count > ShownMax ? $"{shown} + {all.Count - ShownMax} more..." : shown;
    }
}
