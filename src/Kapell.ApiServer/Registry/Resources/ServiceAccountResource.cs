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
        // Upstream clears secrets on create of every client but its token controller's; ours takes what it is given only on update.
        PrepareForCreate = static (o, _) => o.Remove("secrets"),
        Subresources = [Strategies.Elsewhere("token", "authentication.k8s.io/v1 TokenRequest", "create")],
        Columns = [Columns.Name, Columns.Text("Secrets", "Secrets pods using this account may use."), Columns.Age],
        Row = static (o, now) => [Columns.NameOf(o), o.Items("secrets").Count().ToString(), HumanDuration.Age(o, now)],
    };
}
