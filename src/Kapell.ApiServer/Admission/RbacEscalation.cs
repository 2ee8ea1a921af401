using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Authorization;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Admission;

/// <summary>
/// Nobody grants more than they hold: creating or changing a role needs its rights or the verb <c>escalate</c>, a binding the
/// rights of its role or the verb <c>bind</c> (upstream: pkg/registry/rbac/*/policybased).
/// </summary>
internal sealed class RbacEscalation(RbacIndex index, IAccessRule access, bool enabled) : IAdmission
{
    private const string RbacGroup = "rbac.authorization.k8s.io";

    public bool Handles(AdmissionRequest request) =>
        enabled
        && request.Definition.Group == RbacGroup
        && (request.Operation == AdmissionOperation.Create || request.Operation == AdmissionOperation.Update)
        && !request.User.Groups.Contains(UserInfo.Masters);

    public ValueTask MutateAsync(AdmissionRequest request, CancellationToken cancel) => ValueTask.CompletedTask;

    public ValueTask ValidateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        switch (request.Definition.Plural)
        {
            case "roles" or "clusterroles":
                CheckRole(request);
                break;
            case "rolebindings" or "clusterrolebindings":
                CheckBinding(request);
                break;
        }

        return ValueTask.CompletedTask;
    }

    private void CheckRole(AdmissionRequest request)
    {
        KubeObject role = KubeObject.From(request.Object!);
        bool sameRules = request.OldObject is { } old
            && JsonNode.DeepEquals(old["rules"], request.Object!["rules"])
            && JsonNode.DeepEquals(old["aggregationRule"], request.Object["aggregationRule"]);
        if (sameRules || May(request, "escalate", request.Definition.Plural, request.Name))
        {
            return;
        }

        List<string> errors = [];
        List<PolicyRule> held = index.RulesOf(request.User.Name, request.User.Groups, request.Namespace, errors);
        if (RbacAggregation.IsAggregated(role.Root) && RuleCoverage.Missing(held, Everything).Count > 0)
        {
            throw AdmissionErrors.Forbidden(request, "must have cluster-admin privileges to use an aggregationRule");
        }

        Refuse(request, held, PolicyRule.ListFrom(role.Root), errors);
    }

    private void CheckBinding(AdmissionRequest request)
    {
        JsonElement binding = KubeObject.From(request.Object!).Root;
        if (request.OldObject is { } old && JsonNode.DeepEquals(old["subjects"], request.Object!["subjects"])
            && JsonNode.DeepEquals(old["roleRef"], request.Object["roleRef"]))
        {
            return;
        }

        string kind = binding.Get("roleRef").Text("kind");
        string name = binding.Get("roleRef").Text("name");
        if (May(request, "bind", kind == "ClusterRole" ? "clusterroles" : "roles", name))
        {
            return;
        }

        if (index.RulesOfRole(kind, request.Namespace, name) is not { } granted)
        {
            throw new StatusException(Status.NotFound(new GroupResource(RbacGroup, kind == "ClusterRole" ? "clusterrole" : "role"), name));
        }

        List<string> errors = [];
        Refuse(request, index.RulesOf(request.User.Name, request.User.Groups, request.Namespace, errors), granted, errors);
    }

    private static readonly PolicyRule[] Everything =
    [
        new() { Verbs = ["*"], ApiGroups = ["*"], Resources = ["*"] },
        new() { Verbs = ["*"], NonResourceUrls = ["*"] },
    ];

    private static void Refuse(AdmissionRequest request, List<PolicyRule> held, IEnumerable<PolicyRule> granted, List<string> errors)
    {
        if (RuleCoverage.Refusal(request.User.Name, request.User.Groups, held, granted, errors) is { } why)
        {
            throw AdmissionErrors.Forbidden(request, why);
        }
    }

    private bool May(AdmissionRequest request, string verb, string resource, string name) =>
        access.Decide(new AuthorizationAttributes
        {
            User = request.User, Verb = verb, Group = RbacGroup, Version = "*", Resource = resource, Namespace = request.Namespace, Name = name,
        }).Allowed;
}
