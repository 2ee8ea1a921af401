using Kapell.ApiServer.Discovery;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.Verbs;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Kapell.ApiServer.Http;

/// <summary>
/// One request from end to end: what is asked, by whom, whether it may, who serves it; every failure becomes a Status
/// (upstream: server/config.go DefaultBuildHandlerChain).
/// </summary>
internal sealed class ApiPipeline(
    ServerParts parts, ResourceSet resources, ResourceHandler handler, DiscoveryDocuments discovery, HealthEndpoints health,
    InflightLimits limits, RequestMetrics metrics, ServerOptions options, TimeProvider time, ILogger log)
{
    private readonly Dictionary<(GroupResource, string), ISubresourceEndpoint> _endpoints =
        parts.Subresources.ToDictionary(e => (e.Resource, e.Subresource));

    // What upstream's router says where it knows the group but no such route (server/handler.go serviceErrorHandler).
    private static readonly Status NoSuchResource = new()
    {
        Code = 404, Reason = "NotFound", Message = "the server could not find the requested resource",
    };

    private static readonly Status NotAllowed = new()
    {
        Code = 405, Reason = "MethodNotAllowed", Message = "the server does not allow this method on the requested resource",
    };

    private readonly IPathEndpoint[] _paths = [.. parts.Paths.OrderByDescending(p => p.Path.Length)];

    /// <param name="stopping">Ends the long-running requests.</param>
    public async Task HandleAsync(HttpContext context, CancellationToken stopping)
    {
        long began = time.GetTimestamp();
        RequestInfo info = RequestInfo.Parse(context.Request.Method, context.Request.Path.Value ?? "/", context.Request.Query);
        context.Features.Set(info);
        context.Response.Headers["Audit-Id"] = Guid.NewGuid().ToString();
        context.Response.Headers.CacheControl = "no-cache, private";
        ISubresourceEndpoint? endpoint = info.IsResourceRequest
            ? _endpoints.GetValueOrDefault((new GroupResource(info.Group, info.Resource), info.Subresource)) : null;
        bool longRunning = info.Verb is "watch" or "proxy" || endpoint?.LongRunning(info) == true;
        using CancellationTokenSource timeout = new(longRunning ? Timeout.InfiniteTimeSpan : options.RequestTimeout, time);
        using CancellationTokenSource both = CancellationTokenSource.CreateLinkedTokenSource(
            context.RequestAborted, timeout.Token, longRunning ? stopping : CancellationToken.None);
        InflightLimits.Slot? slot = null;
        try
        {
            slot = longRunning ? null : limits.Enter(info);
            await ServeAsync(context, info, endpoint, both.Token);
        }
        catch (StatusException e)
        {
            await Responses.WriteStatusAsync(context, e.Status, context.RequestAborted);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // Nobody is left to answer.
            context.Abort();
        }
        catch (OperationCanceledException) when (longRunning && stopping.IsCancellationRequested)
        {
            // The stream ends as if its time were up; the client opens it elsewhere or later.
            return;
        }
        catch (OperationCanceledException) when (timeout.IsCancellationRequested)
        {
            await Responses.WriteStatusAsync(
                context, Status.Timeout("request did not complete within requested timeout - context deadline exceeded", 0), context.RequestAborted);
        }
        catch (BadHttpRequestException e)
        {
            await Responses.WriteStatusAsync(context, Status.BadRequest(e.Message), context.RequestAborted);
        }
        catch (Exception e)
        {
            HttpLog.Failed(log, info.Verb, info.Path, e);
            await Responses.WriteStatusAsync(context, Status.InternalError(e.Message), context.RequestAborted);
        }
        finally
        {
            slot?.Dispose();
            metrics.Done(info, context.Response.StatusCode, time.GetElapsedTime(began));
        }
    }

    private async Task ServeAsync(HttpContext context, RequestInfo info, ISubresourceEndpoint? endpoint, CancellationToken cancel)
    {
        UserInfo user = await AuthenticateAsync(context, cancel);
        context.Features.Set(user);
        await AuthorizeAsync(context, info, user, cancel);
        if (endpoint is not null)
        {
            await endpoint.HandleAsync(context, info, user, cancel);
        }
        else if (info.IsResourceRequest)
        {
            await ServeResourceAsync(context, info, cancel);
        }
        else if (await health.TryHandleAsync(context, info, cancel) || await discovery.TryHandleAsync(context, info, cancel))
        {
            return;
        }
        else if (_paths.FirstOrDefault(p => p.Path == info.Path || (p.Path.EndsWith('/') && info.Path.StartsWith(p.Path, StringComparison.Ordinal))) is { } path)
        {
            await path.HandleAsync(context, info, user, cancel);
        }
        else
        {
            await Responses.NotFoundPageAsync(context, cancel);
        }
    }

    private async Task ServeResourceAsync(HttpContext context, RequestInfo info, CancellationToken cancel)
    {
        bool found = resources.TryGet(new GroupVersionResource(info.Group, info.Version, info.Resource), out ResourceDefinition? definition);
        if (!found || info.Parts.Count > 3)
        {
            if (!resources.All.Any(r => r.Group == info.Group && r.Version == info.Version))
            {
                await Responses.NotFoundPageAsync(context, cancel);
                return;
            }

            throw new StatusException(NoSuchResource);
        }

        // A namespace's own URL has its name as namespace too.
        bool collection = !info.NameInPath;
        bool allNamespaces = definition!.Namespaced && info.Namespace.Length == 0;
        bool wrongScope = (definition.Namespaced ? allNamespaces && !(collection && info.Verb is "list" or "watch" or "create" or "deletecollection")
            : info.Namespace.Length > 0 && definition.Plural != "namespaces");
        SubresourceDefinition? sub = info.Subresource.Length == 0 ? null : definition.Subresources.FirstOrDefault(s => s.Name == info.Subresource);
        bool served = info.Subresource.Length == 0 || (sub is not null && (sub.PrepareForUpdate is not null || sub.View is not null));
        if (wrongScope || !served)
        {
            throw new StatusException(NoSuchResource);
        }

        IReadOnlyList<string> verbs = sub?.Verbs ?? definition.Verbs;
        bool misplaced = (info.Verb == "create" && !collection) || (info.Verb is "update" or "patch" && collection)
            || (allNamespaces && info.Verb is "create" or "deletecollection" && definition.Namespaced && info.Namespace.Length == 0);
        if (misplaced || !verbs.Contains(info.Verb))
        {
            throw new StatusException(NotAllowed);
        }

        await handler.HandleAsync(context, info, definition, sub, cancel);
    }

    private async Task<UserInfo> AuthenticateAsync(HttpContext context, CancellationToken cancel)
    {
        string? failure = null;
        foreach (IAuthenticator authenticator in parts.Authenticators)
        {
            AuthenticationResult result = await authenticator.AuthenticateAsync(context, cancel);
            if (result.User is { } user)
            {
                return user.Name == UserInfo.Anonymous || user.Groups.Contains(UserInfo.AllAuthenticated)
                    ? user : user with { Groups = [.. user.Groups, UserInfo.AllAuthenticated] };
            }

            failure ??= result.Failure;
        }

        // Wrong credentials never count as none.
        if (failure is not null || !options.AnonymousAuth)
        {
            throw new StatusException(Status.Unauthorized());
        }

        return UserInfo.AnonymousUser;
    }

    private async Task AuthorizeAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        if (!info.IsResourceRequest && HealthEndpoints.IsPublic(info.Path))
        {
            return;
        }

        string reason = "";
        AuthorizationAttributes attributes = AuthorizationAttributes.Of(user, info);
        foreach (IAuthorizer authorizer in parts.Authorizers)
        {
            AuthorizationResult result = await authorizer.AuthorizeAsync(attributes, cancel);
            reason = reason.Length == 0 ? result.Reason : result.Reason.Length == 0 ? reason : reason + ", " + result.Reason;
            if (result.Decision == Decision.Allow)
            {
                return;
            }

            if (result.Decision == Decision.Deny)
            {
                break;
            }
        }

        context.Response.Headers.XContentTypeOptions = "nosniff";
        throw new StatusException(Forbidden(attributes, reason));
    }

    // upstream: handlers/responsewriters/errors.go ForbiddenStatusError
    private static Status Forbidden(AuthorizationAttributes a, string reason)
    {
        string tail = reason.Length == 0 ? "" : ": " + reason;
        if (!a.IsResourceRequest)
        {
            return Status.Forbidden(new GroupResource("", ""), "", $"User \"{a.User.Name}\" cannot {a.Verb} path \"{a.Path}\"{tail}");
        }

        string resource = a.Subresource.Length == 0 ? a.Resource : a.Resource + "/" + a.Subresource;
        string scope = a.Namespace.Length == 0 ? " at the cluster scope" : $" in the namespace \"{a.Namespace}\"";
        return Status.Forbidden(new GroupResource(a.Group, a.Resource), a.Name,
            $"User \"{a.User.Name}\" cannot {a.Verb} resource \"{resource}\" in API group \"{a.Group}\"{scope}{tail}");
    }
}
