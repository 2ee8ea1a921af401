using Kapell.ApiServer.Http;
namespace Kapell.ApiServer.Authorization;

/// <summary>An authorizer's word: yes, or no opinion with an optional reason. Nobody here says a final no.</summary>
public readonly record struct AccessDecision(bool Allowed, string Reason)
{
    public static AccessDecision Yes(string reason = "") => new(true, reason);

    public static AccessDecision NoOpinion(string reason = "") => new(false, reason);
}

/// <summary>Decides from memory alone, so it never waits (production: RBAC, Node, AlwaysAllow; tests: tables).</summary>
internal interface IAccessRule
{
    AccessDecision Decide(AuthorizationAttributes request);
}

/// <summary>The authorizers of --authorization-mode in order: the first yes wins, reasons of the others are kept (upstream: union).</summary>
internal sealed class AccessRules(IReadOnlyList<IAccessRule> rules) : IAccessRule
{
    public const string PrivilegedGroup = "system:masters";

    public AccessDecision Decide(AuthorizationAttributes request)
    {
        if (request.User.Groups.Contains(PrivilegedGroup))
        {
            return AccessDecision.Yes();
        }

        List<string> reasons = [];
        foreach (IAccessRule rule in rules)
        {
            AccessDecision decision = rule.Decide(request);
            if (decision.Allowed)
            {
                return decision;
            }

            if (decision.Reason.Length > 0)
            {
                reasons.Add(decision.Reason);
            }
        }

        return AccessDecision.NoOpinion(string.Join('\n', reasons));
    }
}

/// <summary>--authorization-mode=AlwaysAllow.</summary>
internal sealed class AlwaysAllowRule : IAccessRule
{
    public AccessDecision Decide(AuthorizationAttributes request) => AccessDecision.Yes();
}

/// <summary>--authorization-mode=RBAC.</summary>
internal sealed class RbacRule(RbacIndex index) : IAccessRule
{
    public AccessDecision Decide(AuthorizationAttributes request)
    {
        List<string> errors = [];
        if (index.Visit(request.User.Name, request.User.Groups, request.Namespace, r => r.Allows(request), errors))
        {
            return AccessDecision.Yes();
        }

        return AccessDecision.NoOpinion(errors.Count switch
        {
            0 => "",
            1 => "RBAC: " + errors[0],
            _ => "RBAC: [" + string.Join(", ", errors.Distinct()) + "]",
        });
    }
}

/// <summary>--authorization-mode=AlwaysDeny.</summary>
internal sealed class AlwaysDenyRule : IAccessRule
{
    public AccessDecision Decide(AuthorizationAttributes request) => AccessDecision.NoOpinion("Everything is forbidden.");
}
