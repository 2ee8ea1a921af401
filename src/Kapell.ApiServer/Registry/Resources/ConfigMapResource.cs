using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 ConfigMap.</summary>
internal static class ConfigMapResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "ConfigMap",
        Plural = "configmaps",
        Singular = "configmap",
        ShortNames = ["cm"],
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.ConfigMap",
        StorageKey = "configmaps",
        Validate = DataValidation.ConfigMap,
        ValidateUpdate = DataValidation.ConfigMapUpdate,
        Columns = [Columns.Name, Columns.Text("Data", "Data contains the configuration data."), Columns.Age],
        Row = static (o, now) => [Columns.NameOf(o), (long)(Count(o, "data") + Count(o, "binaryData")), HumanDuration.Age(o, now)],
    };

    internal static int Count(JsonElement o, string name) =>
        o.Get(name) is { ValueKind: JsonValueKind.Object } map ? map.EnumerateObject().Count() : 0;
}
