using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Http;

/// <summary>What the pipeline has found out about a request so far, kept on its <see cref="HttpContext"/>.</summary>
public static class RequestFeatures
{
    public static RequestInfo RequestInfo(this HttpContext context) =>
        context.Features.Get<RequestInfo>() ?? throw new InvalidOperationException("the pipeline has not parsed this request");

    /// <summary>The authenticated caller; anonymous when nobody knew it.</summary>
    public static UserInfo Caller(this HttpContext context) => context.Features.Get<UserInfo>() ?? UserInfo.AnonymousUser;

    /// <summary>Adds a <c>Warning: 299 - "text"</c> header (RFC 7234), as kubectl prints them.</summary>
    public static void AddWarning(this HttpContext context, string text)
    {
        string quoted = text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal);
        string clean = new([.. quoted.Select(c => char.IsControl(c) ? ' ' : c)]);
        context.Response.Headers.Append("Warning", $"299 - \"{clean}\"");
    }
}
