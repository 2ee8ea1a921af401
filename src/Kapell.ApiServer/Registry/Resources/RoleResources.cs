using System.Globalization;
using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>rbac.authorization.k8s.io/v1 Role and ClusterRole.</summary>
internal static class RoleResources
{
    public const string Group = "rbac.authorization.k8s.io";

    private static readonly PrinterColumn CreatedAt = Columns.Text("Created At", "Time the server created the object.");

    public static ResourceDefinition Role { get; } = new()
    {
        Group = Group,
        Version = "v1",
        Kind = "Role",
        Plural = "roles",
        Singular = "role",
        Namespaced = true,
        SchemaName = "io.k8s.api.rbac.v1.Role",
        StorageKey = "roles",
        NameRule = NameRule.PathSegment,
        CreateOnUpdate = true,
        Validate = static o => RbacValidation.Rules(o, namespaced: true),
        Columns = [Columns.Name, CreatedAt],
        Row = Row,
    };

    public static ResourceDefinition ClusterRole { get; } = new()
    {
        Group = Group,
        Version = "v1",
        Kind = "ClusterRole",
        Plural = "clusterroles",
        Singular = "clusterrole",
        Namespaced = false,
        SchemaName = "io.k8s.api.rbac.v1.ClusterRole",
        StorageKey = "clusterroles",
        NameRule = NameRule.PathSegment,
        CreateOnUpdate = true,
        Validate = RbacValidation.ClusterRole,
        Columns = [Columns.Name, CreatedAt],
        Row = Row,
    };

    /// <summary>Upstream shows the moment, not the age, of these two.</summary>
    private static object?[] Row(JsonElement o, DateTimeOffset now)
    {
        string created = o.Get("metadata").Text("creationTimestamp");
        return [Columns.NameOf(o), DateTimeOffset.TryParse(created, CultureInfo.InvariantCulture, out DateTimeOffset _) ? created : "<unknown>"];
    }
}
