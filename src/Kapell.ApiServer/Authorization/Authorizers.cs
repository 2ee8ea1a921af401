using Kapell.ApiServer.Http;

namespace Kapell.ApiServer.Authorization;

/// <summary>The server's authorizer chain in one piece: <see cref="AccessRules"/> behind the request path's interface.</summary>
internal sealed class RulesAuthorizer(IAccessRule rules) : IAuthorizer
{
    public ValueTask<AuthorizationResult> AuthorizeAsync(AuthorizationAttributes attributes, CancellationToken cancel)
    {
        AccessDecision decision = rules.Decide(attributes);
        return ValueTask.FromResult(new AuthorizationResult(decision.Allowed ? Decision.Allow : Decision.NoOpinion, decision.Reason));
    }
}
