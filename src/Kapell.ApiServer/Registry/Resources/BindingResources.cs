using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>rbac.authorization.k8s.io/v1 RoleBinding and ClusterRoleBinding.</summary>
internal static class BindingResources
{
    private static readonly PrinterColumn[] BindingColumns =
    [
        Columns.Name,
        Columns.Text("Role", "The role that is granted."),
        Columns.Age,
        Columns.Text("Users", "Users in the binding", 1),
        Columns.Text("Groups", "Groups in the binding", 1),
        Columns.Text("ServiceAccounts", "ServiceAccounts in the binding", 1),
    ];

    public static ResourceDefinition RoleBinding { get; } = new()
    {
        Group = RoleResources.Group,
        Version = "v1",
        Kind = "RoleBinding",
        Plural = "rolebindings",
        Singular = "rolebinding",
        Namespaced = true,
        SchemaName = "io.k8s.api.rbac.v1.RoleBinding",
        StorageKey = "rolebindings",
        NameRule = NameRule.PathSegment,
        CreateOnUpdate = true,
        Default = Default,
        Validate = static o => RbacValidation.Binding(o, namespaced: true),
        ValidateUpdate = RbacValidation.BindingUpdate,
        Columns = BindingColumns,
        Row = Row,
    };

    public static ResourceDefinition ClusterRoleBinding { get; } = new()
    {
        Group = RoleResources.Group,
        Version = "v1",
        Kind = "ClusterRoleBinding",
        Plural = "clusterrolebindings",
        Singular = "clusterrolebinding",
        Namespaced = false,
        SchemaName = "io.k8s.api.rbac.v1.ClusterRoleBinding",
        StorageKey = "clusterrolebindings",
        NameRule = NameRule.PathSegment,
        CreateOnUpdate = true,
        Default = Default,
        Validate = static o => RbacValidation.Binding(o, namespaced: false),
        ValidateUpdate = RbacValidation.BindingUpdate,
        Columns = BindingColumns,
        Row = Row,
    };

    private static void Default(JsonObject o)
    {
        o.Ensure("roleRef").DefaultText("apiGroup", RoleResources.Group);
        foreach (JsonObject subject in o.Items("subjects"))
        {
            if (subject.Text("kind") is "User" or "Group")
            {
                subject.DefaultText("apiGroup", RoleResources.Group);
            }
        }
    }

    private static object?[] Row(JsonElement o, DateTimeOffset now)
    {
        string Of(string kind, Func<JsonElement, string> show) =>
            string.Join(", ", o.Items("subjects").Where(s => s.Text("kind") == kind).Select(show));
        JsonElement role = o.Get("roleRef");
        return
        [
            Columns.NameOf(o),
            role.Text("kind") + "/" + role.Text("name"),
            HumanDuration.Age(o, now),
            Of("User", static s => s.Text("name")),
            Of("Group", static s => s.Text("name")),
            Of("ServiceAccount", static s => s.Text("namespace") + "/" + s.Text("name")),
        ];
    }
}
