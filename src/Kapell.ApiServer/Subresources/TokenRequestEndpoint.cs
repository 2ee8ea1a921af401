using System.Text.Json.Nodes;
using Kapell.ApiServer.Authentication;
using Kapell.ApiServer.Authorization;
using Kapell.ApiServer.Http;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Subresources;

/// <summary>serviceaccounts/token: issues a bound token (upstream: pkg/registry/core/serviceaccount/storage/token.go).</summary>
internal sealed class TokenRequestEndpoint(
    ServiceAccountTokens tokens, IObjectLookup objects, IObjectStore store, ResourceSet resources, TimeSpan lifeMax, TimeProvider time) : ISubresourceEndpoint
{
    private const string ApiGroup = "authentication.k8s.io";
    private const long SecondsDefault = 3600;
    private const long SecondsMin = 600;

    /// <summary>What projected volumes ask for; old clients that never reload get a year (upstream: WarnOnlyBoundTokenExpirationSeconds).</summary>
    private const long SecondsOfProjected = 3607;

    private static readonly TimeSpan Extended = TimeSpan.FromDays(365);

    public GroupResource Resource => new("", "serviceaccounts");

    public string Subresource => "token";

    public EndpointDiscovery Discovery => new(
        new GroupVersionResource("", "v1", "serviceaccounts"), "serviceaccounts/token", "", true, new GroupVersionKind(ApiGroup, "v1", "TokenRequest"), ["create"]);

    public bool LongRunning(RequestInfo info) => false;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        ReviewRequests.DemandCreate(info, Resource);
        if (!tokens.CanIssue)
        {
            throw new StatusException(Status.ServiceUnavailable(
                "this server issues no tokens: it was started without --service-account-issuer and --service-account-signing-key-file"));
        }

        JsonObject request = await EndpointJson.ReadAsync(context, ApiGroup + "/v1", "TokenRequest", cancel);
        JsonObject spec = request.ObjectOrNew("spec");
        long seconds = spec["expirationSeconds"].AsLong() ?? SecondsDefault;
        Validate(seconds);
        KubeObject account = await FindAsync("serviceaccounts", info.Namespace, info.Name, cancel);
        string[] wanted = [.. (spec.Array("audiences") ?? []).Select(a => a.AsText()).OfType<string>()];
        IReadOnlyList<string> audiences = wanted.Length > 0 ? wanted : tokens.ApiAudiences;
        if (lifeMax > TimeSpan.Zero && seconds > lifeMax.TotalSeconds)
        {
            seconds = (long)lifeMax.TotalSeconds;
            context.AddWarning($"requested expiration of {spec["expirationSeconds"]} seconds shortened to {seconds} seconds");
        }

        TokenOrder order = new() { ServiceAccount = account, Audiences = audiences, Life = TimeSpan.FromSeconds(seconds) };
        order = await BindAsync(order, spec.Object("boundObjectRef"), cancel);
        if (seconds == SecondsOfProjected && order.Pod is not null && audiences.Any(tokens.ApiAudiences.Contains))
        {
            order = order with { Life = Extended, WarnAfter = TimeSpan.FromSeconds(seconds) };
        }

        spec["audiences"] = new JsonArray([.. audiences.Select(a => (JsonNode)a)]);
        spec["expirationSeconds"] = seconds;
        spec.TryAdd("boundObjectRef", null);
        JsonObject metadata = request.ObjectOrNew("metadata");
        metadata["name"] = info.Name;
        metadata["namespace"] = info.Namespace;
        metadata["creationTimestamp"] = KubeTime.Format(time.GetUtcNow());
        request["status"] = new JsonObject
        {
            ["token"] = tokens.Issue(order), ["expirationTimestamp"] = KubeTime.Format(time.GetUtcNow().AddSeconds(seconds)),
        };
        await EndpointJson.WriteAsync(context, StatusCodes.Status201Created, request, cancel);
    }

    private static void Validate(long seconds)
    {
        FieldPath path = FieldPath.New("spec", "expirationSeconds");
        FieldError? error = seconds < SecondsMin ? FieldError.Invalid(path, seconds, "may not specify a duration less than 10 minutes")
            : seconds > 1L << 32 ? FieldError.Invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")
            : null;
        if (error is not null)
        {
            throw new StatusException(Status.Invalid(new GroupKind(ApiGroup, "TokenRequest"), "", [error]));
        }
    }

    private async Task<TokenOrder> BindAsync(TokenOrder order, JsonObject? reference, CancellationToken cancel)
    {
        if (reference is null)
        {
            return order;
        }

        string kind = reference.Text("kind");
        string name = reference.Text("name");
        string apiVersion = reference.Text("apiVersion");
        string space = order.ServiceAccount.Namespace;
        KubeObject bound;
        switch (apiVersion == "v1" ? kind : "")
        {
            case "Pod":
                bound = await FindAsync("pods", space, name, cancel);
                if (bound.Spec.Text("serviceAccountName") != order.ServiceAccount.Name)
                {
                    throw new StatusException(Status.BadRequest(
                        $"cannot bind token for serviceaccount {GoText.Quote(order.ServiceAccount.Name)} to pod running with different serviceaccount name."));
                }

                order = order with { Pod = bound };
                if (bound.Spec.Text("nodeName") is { Length: > 0 } host)
                {
                    KubeObject? node = await objects.FindAsync("", "nodes", new ObjectKey("", host), cancel);
                    order = order with { Node = (host, node?.Uid ?? "") };
                }

                break;
            case "Node":
                bound = await FindAsync("nodes", "", name, cancel);
                order = order with { Node = (name, bound.Uid) };
                break;
            case "Secret":
                bound = await FindAsync("secrets", space, name, cancel);
                order = order with { Secret = bound };
                break;
            default:
                int slash = apiVersion.IndexOf('/', StringComparison.Ordinal);
                GroupVersionKind gvk = new(slash < 0 ? "" : apiVersion[..slash], slash < 0 ? apiVersion : apiVersion[(slash + 1)..], kind);
                throw new StatusException(Status.BadRequest($"cannot bind token to object of type {gvk}"));
        }

        if (reference.Text("uid") is { Length: > 0 } uid && uid != bound.Uid)
        {
            throw new StatusException(Status.Conflict(
                new GroupResource("", kind), name,
                $"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"));
        }

        return order;
    }

    /// <summary>Straight from the store: a token must not be issued for what memory still believes in.</summary>
    private async Task<KubeObject> FindAsync(string resource, string space, string name, CancellationToken cancel)
    {
        KubeObject? found = resources.Find("", resource) is { } definition ? await store.GetAsync(definition, new ObjectKey(space, name), cancel) : null;
        return found ?? throw new StatusException(Status.NotFound(new GroupResource("", resource), name));
    }
}
