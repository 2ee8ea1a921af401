using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authorization;

/// <summary>
/// --authorization-mode=Node: a kubelet reads what the pods on its node need and writes what is its own
/// (upstream: plugin/pkg/auth/authorizer/node/node_authorizer.go).
/// </summary>
internal sealed class NodeRule(NodeGraph graph) : IAccessRule
{
    private const string UserPrefix = "system:node:";
    private const string LeaseNamespace = "kube-node-lease";

    private readonly List<PolicyRule> _rules = BootstrapPolicy.NodeRules();

    /// <summary>The node a kubelet's credentials name, or null for everybody else.</summary>
    public static string? NodeOf(string userName, IReadOnlyList<string> groups) =>
        userName.StartsWith(UserPrefix, StringComparison.Ordinal) && groups.Contains("system:nodes") ? userName[UserPrefix.Length..] : null;

    public AccessDecision Decide(AuthorizationAttributes request)
    {
        if (NodeOf(request.User.Name, request.User.Groups) is not { } node)
        {
            return AccessDecision.NoOpinion();
        }

        if (node.Length == 0)
        {
            return AccessDecision.NoOpinion($"unknown node for user {GoText.Quote(request.User.Name)}");
        }

        return (request.IsResourceRequest ? request.Group + "/" + request.Resource : "") switch
        {
            "/secrets" or "/configmaps" => Related(node, request, ["get", "list", "watch"]),
            "/persistentvolumeclaims" when request.Subresource.Length == 0 => Related(node, request, ["get"]),
            "/persistentvolumeclaims" when request.Subresource == "status" => Related(node, request with { Subresource = "" }, ["get", "update", "patch"]),
            "resource.k8s.io/resourceclaims" => Related(node, request, ["get"]),
            "/serviceaccounts" => Token(node, request),
            "coordination.k8s.io/leases" => Lease(node, request),
            "/nodes" => Node(node, request),
            "/pods" => Pod(node, request),
            _ => ByRules(request),
        };
    }

    private AccessDecision ByRules(AuthorizationAttributes request) =>
        _rules.Any(r => r.Allows(request)) ? AccessDecision.Yes() : AccessDecision.NoOpinion();

    private AccessDecision Related(string node, AuthorizationAttributes request, string[] verbs)
    {
        if (!verbs.Contains(request.Verb))
        {
            return AccessDecision.NoOpinion(verbs.Length == 1 ? "can only get individual resources of this type" : "can only read resources of this type");
        }

        if (request.Subresource.Length > 0)
        {
            return AccessDecision.NoOpinion(verbs.Length == 1 ? "cannot get subresource" : "cannot read subresource");
        }

        if (request.Namespace.Length == 0)
        {
            return AccessDecision.NoOpinion("can only read namespaced object of this type");
        }

        return Related(node, request.Resource, request);
    }

    private AccessDecision Related(string node, string kind, AuthorizationAttributes request)
    {
        if (request.Name.Length == 0)
        {
            return AccessDecision.NoOpinion("No Object name found");
        }

        return graph.Refers(node, kind, request.Namespace, request.Name) ? AccessDecision.Yes() : Unrelated(node);
    }

    private AccessDecision Token(string node, AuthorizationAttributes request)
    {
        if (request.Verb == "get" && request.Subresource.Length == 0)
        {
            return Related(node, "serviceaccounts", request);
        }

        if (request.Verb != "create" || request.Name.Length == 0)
        {
            return AccessDecision.NoOpinion("can only create tokens for individual service accounts");
        }

        return request.Subresource != "token"
            ? AccessDecision.NoOpinion("can only create token subresource of serviceaccount")
            : Related(node, "serviceaccounts", request);
    }

    private static AccessDecision Lease(string node, AuthorizationAttributes request)
    {
        if (request.Verb is not ("get" or "create" or "update" or "patch" or "delete"))
        {
            return AccessDecision.NoOpinion("can only get, create, update, patch, or delete a node lease");
        }

        if (request.Namespace != LeaseNamespace)
        {
            return AccessDecision.NoOpinion($"can only access leases in the {GoText.Quote(LeaseNamespace)} system namespace");
        }

        // The name of an object being created is not known here; NodeRestriction checks it.
        return request.Verb != "create" && request.Name != node
            ? AccessDecision.NoOpinion("can only access node lease with the same name as the requesting node")
            : AccessDecision.Yes();
    }

    private AccessDecision Node(string node, AuthorizationAttributes request)
    {
        switch (request.Subresource)
        {
            case "":
                switch (request.Verb)
                {
                    case "create" or "update" or "patch":
                        return AccessDecision.Yes();
                    case "get" or "list" or "watch":
                        if (request.Name == node)
                        {
                            return AccessDecision.Yes();
                        }

                        return AccessDecision.NoOpinion(request.Name.Length == 0
                            ? $"node '{node}' cannot read all nodes, only its own Node object"
                            : $"node '{node}' cannot read '{request.Name}', only its own Node object");
                    default:
                        return ByRules(request);
                }

            case "status" when request.Verb is "update" or "patch":
                return AccessDecision.Yes();
            default:
                return ByRules(request);
        }
    }

    private AccessDecision Pod(string node, AuthorizationAttributes request)
    {
        if (request is { Subresource: "status", Verb: "update" or "patch" })
        {
            return AccessDecision.Yes();
        }

        if (request.Subresource == "eviction" && request.Verb == "create")
        {
            return AccessDecision.Yes();
        }

        if (request.Subresource.Length > 0)
        {
            return ByRules(request);
        }

        switch (request.Verb)
        {
            case "create" or "delete":
                return AccessDecision.Yes();
            case "get":
                return graph.RunsPod(node, new ObjectKey(request.Namespace, request.Name)) ? AccessDecision.Yes() : Unrelated(node);
            case "list" or "watch":
                if (request.FieldSelector.Split(',').Any(f => f == "spec.nodeName=" + node))
                {
                    return AccessDecision.Yes();
                }

                return request.Name.Length > 0 && graph.RunsPod(node, new ObjectKey(request.Namespace, request.Name))
                    ? AccessDecision.Yes()
                    : AccessDecision.NoOpinion("can only list/watch pods with spec.nodeName field selector");
            default:
                return AccessDecision.NoOpinion();
        }
    }

    private static AccessDecision Unrelated(string node) => AccessDecision.NoOpinion($"no relationship found between node '{node}' and this object");
}
