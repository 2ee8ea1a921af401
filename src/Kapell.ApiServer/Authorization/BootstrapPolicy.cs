using System.Text.Json.Nodes;

namespace Kapell.ApiServer.Authorization;

/// <summary>The default RBAC objects as JSON documents, read from <see cref="BootstrapPolicyData"/>.</summary>
internal static class BootstrapPolicy
{
    public const string AutoUpdateAnnotation = "rbac.authorization.kubernetes.io/autoupdate";

    private const string ControllerPrefix = "system:controller:";
    private const string RbacGroup = "rbac.authorization.k8s.io";

    /// <summary>All objects in the order they are to be written: roles before the bindings that name them.</summary>
    public static List<JsonObject> All()
    {
        List<JsonObject> objects = [];
        Read(BootstrapPolicyData.ClusterRoles, objects);
        Read(BootstrapPolicyData.Controllers, objects);
        Read(BootstrapPolicyData.Bindings, objects);
        Read(BootstrapPolicyData.Namespaced, objects);
        return [.. objects.OrderBy(o => o["roleRef"] is null ? 0 : 1)];
    }

    /// <summary>What every kubelet may do; the Node authorizer narrows the rest by the graph.</summary>
    public static List<PolicyRule> NodeRules()
    {
        List<JsonObject> objects = [];
        Read(BootstrapPolicyData.ClusterRoles, objects);
        JsonObject node = objects.First(o => (string?)o["metadata"]!["name"] == "system:node");
        using System.Text.Json.JsonDocument document = System.Text.Json.JsonDocument.Parse(node.ToJsonString());
        return PolicyRule.ListFrom(document.RootElement);
    }

    private static void Read(string data, List<JsonObject> objects)
    {
        foreach (string line in data.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            if (line[0] == ' ')
            {
                ((JsonArray)objects.Last(o => o["rules"] is not null)["rules"]!).Add((JsonNode)Rule(words));
                continue;
            }

            switch (words[0])
            {
                case "clusterrole":
                    objects.Add(ClusterRole(words));
                    break;
                case "controller":
                    objects.Add(Binding("ClusterRoleBinding", "", ControllerPrefix + words[1], "ClusterRole", ControllerPrefix + words[1], ["sa:kube-system/" + words[1]]));
                    objects.Add(Role("ClusterRole", "", ControllerPrefix + words[1]));
                    break;
                case "bind":
                    objects.Add(Binding("ClusterRoleBinding", "", words[1], "ClusterRole", words[1], words[2..]));
                    break;
                case "role":
                    objects.Add(Role("Role", words[1], words[2]));
                    break;
                default:
                    objects.Add(Binding("RoleBinding", words[1], words[2], "Role", words[3], words[4..]));
                    break;
            }
        }
    }

    private static JsonObject ClusterRole(string[] words)
    {
        JsonObject role = Role("ClusterRole", "", words[1]);
        foreach (string word in words.Skip(2))
        {
            string[] pair = word.Split('=');
            if (pair[0] == "label")
            {
                role["metadata"]!["labels"]![RbacAggregation.LabelPrefix + pair[1]] = "true";
            }
            else
            {
                role["aggregationRule"] = new JsonObject
                {
                    ["clusterRoleSelectors"] = new JsonArray(new JsonObject
                    {
                        ["matchLabels"] = new JsonObject { [RbacAggregation.LabelPrefix + pair[1]] = "true" },
                    }),
                };
            }
        }

        return role;
    }

    private static JsonObject Role(string kind, string space, string name) => new()
    {
        ["apiVersion"] = RbacGroup + "/v1", ["kind"] = kind, ["metadata"] = Metadata(space, name), ["rules"] = new JsonArray(),
    };

    private static JsonObject Binding(string kind, string space, string name, string roleKind, string roleName, string[] subjects)
    {
        JsonObject binding = new()
        {
            ["apiVersion"] = RbacGroup + "/v1", ["kind"] = kind, ["metadata"] = Metadata(space, name),
            ["roleRef"] = new JsonObject { ["apiGroup"] = RbacGroup, ["kind"] = roleKind, ["name"] = roleName },
        };
        if (subjects.Length > 0)
        {
            binding["subjects"] = new JsonArray([.. subjects.Select(Subject)]);
        }

        return binding;
    }

    private static JsonNode Subject(string text)
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        string name = text[(colon + 1)..];
        if (text.StartsWith("sa:", StringComparison.Ordinal))
        {
            string[] pair = name.Split('/');
            return new JsonObject { ["kind"] = "ServiceAccount", ["name"] = pair[1], ["namespace"] = pair[0] };
        }

        return new JsonObject { ["apiGroup"] = RbacGroup, ["kind"] = text.StartsWith("user:", StringComparison.Ordinal) ? "User" : "Group", ["name"] = name };
    }

    private static JsonObject Metadata(string space, string name)
    {
        JsonObject metadata = new()
        {
            ["name"] = name,
            ["labels"] = new JsonObject { ["kubernetes.io/bootstrapping"] = "rbac-defaults" },
            ["annotations"] = new JsonObject { [AutoUpdateAnnotation] = "true" },
        };
        if (space.Length > 0)
        {
            metadata["namespace"] = space;
        }

        return metadata;
    }

    private static JsonObject Rule(string[] words)
    {
        string[] verbs = words[0] switch
        {
            "read" => ["get", "list", "watch"],
            "write" => ["create", "delete", "deletecollection", "patch", "update"],
            "all" => ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            _ => [.. words[0].Split(',').SelectMany(v => v == "read" ? (string[])["get", "list", "watch"] : [v])],
        };
        return words[1] == "url"
            ? new PolicyRule { Verbs = verbs, NonResourceUrls = words[2].Split(',') }.ToJson()
            : new PolicyRule
            {
                Verbs = verbs,
                ApiGroups = [.. words[1].Split(',').Select(g => g == "core" ? "" : g)],
                Resources = words[2].Split(','),
                ResourceNames = words.Length > 3 ? words[3].Split(',') : [],
            }.ToJson();
    }
}
