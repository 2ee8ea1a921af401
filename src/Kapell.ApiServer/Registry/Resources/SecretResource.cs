using System.Text;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 Secret: <c>stringData</c> is only a way of writing <c>data</c> and is never read back.</summary>
internal static class SecretResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "Secret",
        Plural = "secrets",
        Singular = "secret",
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.Secret",
        StorageKey = "secrets",
        Default = Default,
        Validate = DataValidation.Secret,
        ValidateUpdate = DataValidation.SecretUpdate,
        PrepareForUpdate = static (updated, old, _) =>
        {
            // A secret does not lose its type by being written without one (upstream: secret strategy).
            if (updated.Text("type").Length == 0)
            {
                updated.TakeFrom("type", old);
            }
        },
        SelectableFields = new Dictionary<string, Func<System.Text.Json.JsonElement, string>>
        {
            ["type"] = static o => o.Text("type"),
        },
        Columns =
        [
            Columns.Name,
            Columns.Text("Type", "Used to facilitate programmatic handling of secret data."),
            Columns.Text("Data", "Data contains the secret data."),
            Columns.Age,
        ],
        Row = static (o, now) =>
            [Columns.NameOf(o), o.Text("type"), (long)ConfigMapResource.Count(o, "data"), HumanDuration.Age(o, now)],
    };

    private static void Default(JsonObject secret)
    {
        if (secret.Obj("stringData") is { } plain)
        {
            JsonObject data = secret.Ensure("data");
            foreach ((string key, JsonNode? value) in plain)
            {
                data[key] = Convert.ToBase64String(Encoding.UTF8.GetBytes(value.AsText() ?? ""));
            }
        }

        secret.Remove("stringData");
        secret.DefaultText("type", "Opaque");
    }
}
