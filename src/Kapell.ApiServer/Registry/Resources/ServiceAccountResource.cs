using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 ServiceAccount.</summary>
internal static class ServiceAccountResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "ServiceAccount",
        Plural = "serviceaccounts",
        Singular = "serviceaccount",
        ShortNames = ["sa"],
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.ServiceAccount",
        StorageKey = "serviceaccounts",
        ReturnDeletedObject = true,
        // Of a reference to a secret only the name is kept (upstream: service account strategy, cleanSecretReferences).
        PrepareForCreate = static (o, _) => KeepNames(o),
        PrepareForUpdate = static (updated, _, _) => KeepNames(updated),
        Subresources = [Strategies.Elsewhere("token", "authentication.k8s.io/v1 TokenRequest", "create")],
        Columns = [Columns.Name, Columns.Text("Secrets", "Secrets pods using this account may use."), Columns.Age],
        Row = static (o, now) => [Columns.NameOf(o), (long)o.Items("secrets").Count(), HumanDuration.Age(o, now)],
    };

    private static void KeepNames(JsonObject account)
    {
        foreach (JsonObject reference in account.Items("secrets"))
        {
            foreach (string field in reference.Select(f => f.Key).Where(f => f != "name").ToArray())
            {
                reference.Remove(field);
            }
        }
    }
}
