using Kapell.ApiServer.Authorization;
using Kapell.ApiServer.Http;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;

namespace Kapell.ApiServer.Authentication;

/// <summary>
/// Stands before the other authenticators: finds the real caller with them and, when <c>Impersonate-*</c> headers are there and
/// the caller may, answers with the user they name (upstream: endpoints/filters/impersonation).
/// </summary>
internal sealed class ImpersonatingAuthenticator(IReadOnlyList<IAuthenticator> inner, IAccessRule access) : IAuthenticator
{
    private const string UserHeader = "Impersonate-User";
    private const string GroupHeader = "Impersonate-Group";
    private const string UidHeader = "Impersonate-Uid";
    private const string ExtraPrefix = "Impersonate-Extra-";
    private const string AuthenticationGroup = "authentication.k8s.io";

    public async ValueTask<AuthenticationResult> AuthenticateAsync(HttpContext context, CancellationToken cancel)
    {
        string? failure = null;
        foreach (IAuthenticator authenticator in inner)
        {
            AuthenticationResult result = await authenticator.AuthenticateAsync(context, cancel);
            if (result.User is { } user)
            {
                return AuthenticationResult.Of(Impersonate(context, user));
            }

            failure ??= result.Failure;
        }

        return failure is null ? AuthenticationResult.NotMine : AuthenticationResult.Fail(failure);
    }

    private UserInfo Impersonate(HttpContext context, UserInfo caller)
    {
        IHeaderDictionary headers = context.Request.Headers;
        string name = headers[UserHeader].ToString();
        string uid = headers[UidHeader].ToString();
        string[] groups = [.. headers[GroupHeader].OfType<string>()];
        Dictionary<string, IReadOnlyList<string>> extra = ExtraOf(headers);
        if (name.Length == 0)
        {
            // kubectl always sends the user first; the others alone are a mistake.
            return groups.Length == 0 && uid.Length == 0 && extra.Count == 0
                ? caller
                : throw new StatusException(Status.InternalError("requested [{...}] without impersonating a user"));
        }

        UserInfo asking = caller.Groups.Contains(UserInfo.AllAuthenticated) ? caller : caller with { Groups = [.. caller.Groups, UserInfo.AllAuthenticated] };
        ObjectKey? account = ServiceAccountTokens.AccountOf(name);
        Demand(asking, account is { } key
            ? new AuthorizationAttributes { User = asking, Verb = "impersonate", Version = "v1", Resource = "serviceaccounts", Namespace = key.Namespace, Name = key.Name }
            : new AuthorizationAttributes { User = asking, Verb = "impersonate", Version = "v1", Resource = "users", Name = name });
        foreach (string group in groups)
        {
            Demand(asking, new AuthorizationAttributes { User = asking, Verb = "impersonate", Version = "v1", Resource = "groups", Name = group });
        }

        if (uid.Length > 0)
        {
            Demand(asking, new AuthorizationAttributes
            {
                User = asking, Verb = "impersonate", Group = AuthenticationGroup, Version = "v1", Resource = "uids", Name = uid,
            });
        }

        foreach ((string extraKey, string value) in extra.SelectMany(e => e.Value.Select(v => (e.Key, v))))
        {
            Demand(asking, new AuthorizationAttributes
            {
                User = asking, Verb = "impersonate", Group = AuthenticationGroup, Version = "v1", Resource = "userextras", Subresource = extraKey, Name = value,
            });
        }

        RemoveHeaders(headers);
        return new UserInfo { Name = name, Uid = uid, Groups = GroupsOf(name, account, groups), Extra = extra };
    }

    private void Demand(UserInfo asking, AuthorizationAttributes wanted)
    {
        AccessDecision decision = access.Decide(wanted);
        if (!decision.Allowed)
        {
            string why = decision.Reason.Length > 0 ? wanted.Denial() + ": " + decision.Reason : wanted.Denial();
            throw new StatusException(Status.Forbidden(new GroupResource(wanted.Group, wanted.Resource), wanted.Name, why));
        }
    }

    private static string[] GroupsOf(string name, ObjectKey? account, string[] groups)
    {
        if (account is { } key && groups.Length == 0)
        {
            groups = [ServiceAccountTokens.GroupAll, ServiceAccountTokens.GroupAll + ":" + key.Namespace];
        }

        if (name == UserInfo.Anonymous)
        {
            return groups.Contains(UserInfo.AllUnauthenticated) ? groups : [.. groups, UserInfo.AllUnauthenticated];
        }

        return groups.Contains(UserInfo.AllAuthenticated) || groups.Contains(UserInfo.AllUnauthenticated) ? groups : [.. groups, UserInfo.AllAuthenticated];
    }

    private static Dictionary<string, IReadOnlyList<string>> ExtraOf(IHeaderDictionary headers)
    {
        Dictionary<string, IReadOnlyList<string>> extra = new(StringComparer.Ordinal);
        foreach ((string header, StringValues values) in headers)
        {
            if (header.StartsWith(ExtraPrefix, StringComparison.OrdinalIgnoreCase))
            {
                string key = Uri.UnescapeDataString(header[ExtraPrefix.Length..].ToLowerInvariant());
                extra[key] = [.. extra.GetValueOrDefault(key, []), .. values.OfType<string>()];
            }
        }

        return extra;
    }

    private static void RemoveHeaders(IHeaderDictionary headers)
    {
        foreach (string header in headers.Keys.Where(k => k.StartsWith("Impersonate-", StringComparison.OrdinalIgnoreCase)).ToArray())
        {
            headers.Remove(header);
        }
    }
}
