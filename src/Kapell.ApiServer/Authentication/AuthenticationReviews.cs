using System.Text.Json.Nodes;
using Kapell.ApiServer.Authorization;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Subresources;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Authentication;

/// <summary>Answers TokenReview: is this token good, and whose.</summary>
internal sealed class TokenReviewEndpoint(BearerTokens tokens) : ISubresourceEndpoint
{
    private const string ApiGroup = "authentication.k8s.io";

    public GroupResource Resource => new(ApiGroup, "tokenreviews");

    public string Subresource => "";

    public EndpointDiscovery Discovery => new(
        new GroupVersionResource(ApiGroup, "v1", "tokenreviews"), "tokenreviews", "tokenreview", false, new GroupVersionKind(ApiGroup, "v1", "TokenReview"), ["create"]);

    public bool LongRunning(RequestInfo info) => false;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        ReviewRequests.DemandCreate(info, Resource);
        JsonObject review = await EndpointJson.ReadAsync(context, ApiGroup + "/v1", "TokenReview", cancel);
        JsonObject spec = review.ObjectOrNew("spec");
        string token = spec.Text("token");
        if (token.Length == 0)
        {
            throw new StatusException(Status.BadRequest("token is required for TokenReview in authentication"));
        }

        string[] wanted = [.. (spec.Array("audiences") ?? []).Select(a => a.AsText()).OfType<string>()];
        IReadOnlyList<string> audiences = wanted.Length > 0 ? wanted : tokens.Accounts.ApiAudiences;
        AuthenticationResult result = await tokens.AuthenticateAsync(token, audiences, cancel);
        JsonObject status = [];
        if (result.User is { } found)
        {
            string[] matched = Jwt.TryParse(token) is { } jwt && jwt.Audiences.Count > 0
                ? [.. audiences.Intersect(jwt.Audiences)]
                : [.. audiences.Intersect(tokens.Accounts.ApiAudiences)];
            status["authenticated"] = true;
            status["user"] = UserJson.Of(found.Groups.Contains(UserInfo.AllAuthenticated) ? found : found with { Groups = [.. found.Groups, UserInfo.AllAuthenticated] });
            status["audiences"] = new JsonArray([.. matched.Select(a => (JsonNode)a)]);
        }
        else
        {
            status["user"] = new JsonObject();
            status["error"] = "[invalid bearer token, " + result.Failure + "]";
        }

        review["status"] = status;
        review.ObjectOrNew("metadata");
        await EndpointJson.WriteAsync(context, StatusCodes.Status201Created, review, cancel);
    }
}

/// <summary>Answers SelfSubjectReview: who am I (kubectl auth whoami).</summary>
internal sealed class SelfReviewEndpoint(TimeProvider time) : ISubresourceEndpoint
{
    private const string ApiGroup = "authentication.k8s.io";
    private const string Plural = "selfsubjectreviews";

    public GroupResource Resource => new(ApiGroup, Plural);

    public string Subresource => "";

    public EndpointDiscovery Discovery => new(
        new GroupVersionResource(ApiGroup, "v1", Plural), Plural, "selfsubjectreview", false, new GroupVersionKind(ApiGroup, "v1", "SelfSubjectReview"), ["create"]);

    public bool LongRunning(RequestInfo info) => false;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        ReviewRequests.DemandCreate(info, Resource);
        JsonObject review = await EndpointJson.ReadAsync(context, ApiGroup + "/v1", "SelfSubjectReview", cancel);
        review.ObjectOrNew("metadata")["creationTimestamp"] = KubeTime.Format(time.GetUtcNow());
        review["status"] = new JsonObject { ["userInfo"] = UserJson.Of(user) };
        await EndpointJson.WriteAsync(context, StatusCodes.Status201Created, review, cancel);
    }
}

/// <summary>authentication.k8s.io/v1 UserInfo.</summary>
internal static class UserJson
{
    public static JsonObject Of(UserInfo user)
    {
        JsonObject json = new() { ["username"] = user.Name };
        if (user.Uid.Length > 0)
        {
            json["uid"] = user.Uid;
        }

        json["groups"] = new JsonArray([.. user.Groups.Select(g => (JsonNode)g)]);
        if (user.Extra.Count > 0)
        {
            JsonObject extra = [];
            foreach ((string key, IReadOnlyList<string> values) in user.Extra)
            {
                extra[key] = new JsonArray([.. values.Select(v => (JsonNode)v)]);
            }

            json["extra"] = extra;
        }

        return json;
    }
}

/// <summary>/.well-known/openid-configuration and /openid/v1/jwks, so that others can verify our tokens.</summary>
internal sealed class IssuerDiscoveryEndpoint(string path, string mediaType, JsonObject document) : IPathEndpoint
{
    private readonly byte[] _body = JsonBytes.Of(document);

    public string Path => path;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        context.Response.ContentType = mediaType;
        context.Response.Headers.CacheControl = "public, max-age=3600";
        context.Response.ContentLength = _body.Length;
        await context.Response.BodyWriter.WriteAsync(_body, cancel);
    }

    public static IEnumerable<IPathEndpoint> For(ServiceAccountTokens tokens, string externalAddress)
    {
        JsonArray keys = [.. tokens.Keys.Verifying.Select(k => (JsonNode)k.ToJwk())];
        yield return new IssuerDiscoveryEndpoint("/openid/v1/jwks", "application/jwk-set+json", new JsonObject { ["keys"] = keys });
        yield return new IssuerDiscoveryEndpoint("/.well-known/openid-configuration", "application/json", new JsonObject
        {
            ["issuer"] = tokens.Issuer,
            ["jwks_uri"] = $"https://{externalAddress}/openid/v1/jwks",
            ["response_types_supported"] = new JsonArray("id_token"),
            ["subject_types_supported"] = new JsonArray("public"),
            ["id_token_signing_alg_values_supported"] = new JsonArray([.. tokens.Keys.Verifying.Select(k => k.Algorithm).Distinct().Select(a => (JsonNode)a)]),
        });
    }
}
