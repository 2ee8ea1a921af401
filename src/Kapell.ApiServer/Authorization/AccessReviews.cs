using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Subresources;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Authorization;

/// <summary>Answers SubjectAccessReview, LocalSubjectAccessReview and SelfSubjectAccessReview (kubectl auth can-i).</summary>
internal sealed class AccessReviewEndpoint(string kind, IAccessRule access) : ISubresourceEndpoint
{
    private const string ApiGroup = "authorization.k8s.io";
    private const string ApiVersion = "authorization.k8s.io/v1";

    private readonly string _plural = kind.ToLowerInvariant() + "s";

    private bool IsLocal => kind == "LocalSubjectAccessReview";

    private bool IsSelf => kind == "SelfSubjectAccessReview";

    public GroupResource Resource => new(ApiGroup, _plural);

    public string Subresource => "";

    public EndpointDiscovery Discovery => new(
        new GroupVersionResource(ApiGroup, "v1", _plural), _plural, kind.ToLowerInvariant(), IsLocal, new GroupVersionKind(ApiGroup, "v1", kind), ["create"]);

    public bool LongRunning(RequestInfo info) => false;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        ReviewRequests.DemandCreate(info, Resource);
        JsonObject review = await EndpointJson.ReadAsync(context, ApiVersion, kind, cancel);
        JsonObject spec = review.ObjectOrNew("spec");
        Validate(spec, info);
        JsonObject? resource = spec.Object("resourceAttributes");
        JsonObject? path = spec.Object("nonResourceAttributes");
        UserInfo subject = IsSelf ? user : SubjectOf(spec);
        AccessDecision decision = access.Decide(resource is not null
            ? new AuthorizationAttributes
            {
                User = subject, Verb = resource.Text("verb"), Group = resource.Text("group"), Version = resource.Text("version"),
                Resource = resource.Text("resource"), Subresource = resource.Text("subresource"), Namespace = resource.Text("namespace"),
                Name = resource.Text("name"), FieldSelector = SelectorOf(resource),
            }
            : new AuthorizationAttributes { User = subject, IsResourceRequest = false, Verb = path.Text("verb"), Path = path.Text("path") });
        JsonObject status = new() { ["allowed"] = decision.Allowed };
        if (decision.Reason.Length > 0)
        {
            status["reason"] = decision.Reason;
        }

        review["status"] = status;
        review.ObjectOrNew("metadata");
        await EndpointJson.WriteAsync(context, StatusCodes.Status201Created, review, cancel);
    }

    private void Validate(JsonObject spec, RequestInfo info)
    {
        List<FieldError> errors = [];
        FieldPath path = FieldPath.New("spec");
        bool hasResource = spec["resourceAttributes"] is JsonObject;
        bool hasPath = spec["nonResourceAttributes"] is JsonObject;
        if (hasResource && hasPath)
        {
            errors.Add(FieldError.Invalid(path.Child("nonResourceAttributes"), spec["nonResourceAttributes"], "cannot be specified in combination with resourceAttributes"));
        }
        else if (!hasResource && !hasPath)
        {
            errors.Add(FieldError.Invalid(path.Child("resourceAttributes"), null, "exactly one of nonResourceAttributes or resourceAttributes must be specified"));
        }

        if (!IsSelf && spec.Text("user").Length == 0 && spec.Array("groups") is not { Count: > 0 })
        {
            errors.Add(FieldError.Invalid(path.Child("user"), "", "at least one of user or group must be specified"));
        }

        if (errors.Count > 0)
        {
            throw new StatusException(Status.Invalid(new GroupKind(ApiGroup, kind), "", errors));
        }

        if (IsLocal && (!hasResource || spec.Object("resourceAttributes").Text("namespace") != info.Namespace))
        {
            throw new StatusException(Status.BadRequest($"spec.resourceAttributes.namespace must match namespace: {info.Namespace}"));
        }
    }

    private static UserInfo SubjectOf(JsonObject spec) => new()
    {
        Name = spec.Text("user"),
        Uid = spec.Text("uid"),
        Groups = [.. (spec.Array("groups") ?? []).Select(g => g.AsText()).OfType<string>()],
    };

    private static string SelectorOf(JsonObject resource) => string.Join(',', (resource.Object("fieldSelector").Array("requirements") ?? [])
        .Where(r => r.Text("operator") == "In" && r.Array("values") is { Count: 1 })
        .Select(r => r.Text("key") + "=" + r.Array("values")![0].AsText()));
}

/// <summary>Answers SelfSubjectRulesReview: all rules of the caller in one namespace (kubectl auth can-i --list).</summary>
internal sealed class RulesReviewEndpoint(RbacIndex index, bool rbac) : ISubresourceEndpoint
{
    private const string ApiGroup = "authorization.k8s.io";
    private const string Kind = "SelfSubjectRulesReview";
    private const string Plural = "selfsubjectrulesreviews";

    public GroupResource Resource => new(ApiGroup, Plural);

    public string Subresource => "";

    public EndpointDiscovery Discovery => new(
        new GroupVersionResource(ApiGroup, "v1", Plural), Plural, "selfsubjectrulesreview", false, new GroupVersionKind(ApiGroup, "v1", Kind), ["create"]);

    public bool LongRunning(RequestInfo info) => false;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        ReviewRequests.DemandCreate(info, Resource);
        JsonObject review = await EndpointJson.ReadAsync(context, ApiGroup + "/v1", Kind, cancel);
        string space = review.ObjectOrNew("spec").Text("namespace");
        if (space.Length == 0)
        {
            throw new StatusException(Status.BadRequest("no namespace on request"));
        }

        List<string> errors = [];
        List<PolicyRule> rules = rbac ? index.RulesOf(user.Name, user.Groups, space, errors) : [Everything];
        if (!rbac)
        {
            rules.Add(new PolicyRule { Verbs = ["*"], NonResourceUrls = ["*"] });
        }

        JsonObject status = new()
        {
            ["resourceRules"] = Array(rules.Where(r => r.Resources.Count > 0)),
            ["nonResourceRules"] = Array(rules.Where(r => r.NonResourceUrls.Count > 0)),
            ["incomplete"] = NodeRule.NodeOf(user.Name, user.Groups) is not null,
        };
        if (errors.Count > 0)
        {
            status["evaluationError"] = string.Join("; ", errors);
        }

        review["status"] = status;
        review.ObjectOrNew("metadata");
        await EndpointJson.WriteAsync(context, StatusCodes.Status201Created, review, cancel);
    }

    private static PolicyRule Everything => new() { Verbs = ["*"], ApiGroups = ["*"], Resources = ["*"] };

    private static JsonArray Array(IEnumerable<PolicyRule> rules) => new([.. rules.Select(r => (JsonNode)r.ToJson())]);
}

/// <summary>What all review endpoints have in common.</summary>
internal static class ReviewRequests
{
    public static void DemandCreate(RequestInfo info, GroupResource resource)
    {
        if (info.Verb != "create")
        {
            throw new StatusException(Status.MethodNotSupported(resource, info.Verb));
        }
    }
}
