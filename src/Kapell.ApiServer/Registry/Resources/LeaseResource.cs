using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>coordination.k8s.io/v1 Lease.</summary>
internal static class LeaseResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "coordination.k8s.io",
        Version = "v1",
        Kind = "Lease",
        Plural = "leases",
        Singular = "lease",
        Namespaced = true,
        SchemaName = "io.k8s.api.coordination.v1.Lease",
        StorageKey = "leases",
        CreateOnUpdate = true,
        UnconditionalUpdate = false,
        Default = static o => o.Ensure("spec"),
        Validate = LeaseValidation.Lease,
        Columns = [Columns.Name, Columns.Text("Holder", "Who holds the lease."), Columns.Age],
        Row = static (o, now) => [Columns.NameOf(o), o.Get("spec").Text("holderIdentity"), HumanDuration.Age(o, now)],
    };
}
