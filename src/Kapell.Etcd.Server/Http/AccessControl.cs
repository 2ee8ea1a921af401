using System.Text.Json;
using Kapell.Base;
using Kapell.Etcd.Server.Rpc.Authentication;
using Microsoft.AspNetCore.Http;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// Stands before everything that is not gRPC: which names of this host and which origins may ask. etcd: embed/serve.go accessController
/// </summary>
internal sealed class AccessControl(IReadOnlyList<string> origins, IReadOnlyList<string> hosts, Authenticator authenticator)
{
    private const string Any = "*";
    private readonly HashSet<string> _origins = [.. origins];
    private readonly HashSet<string> _hosts = [.. hosts];

    public async Task ServeAsync(HttpContext context, RequestDelegate next)
    {
        if (!context.Request.IsHttps && !IsAllowed(_hosts, context.Request.Host.Host))
        {
            // The host name of the request decides whether another site's page speaks to us through a browser (DNS rebinding).
            await RefuseAsync(context, StatusCodes.Status421MisdirectedRequest, UnknownHost(context.Request.Host.Host));
            return;
        }

        bool gateway = context.Request.Path.StartsWithSegments("/v3");
        if (gateway && authenticator.Enabled && authenticator.Settings.UsesCertificates && context.Connection.ClientCertificate is { } certificate
            && CertificateSubject.Of(certificate).CommonName.Length > 0)
        {
            await RefuseAsync(
                context, 400, "CommonName of client sending a request against gateway will be ignored and not used as expected\n");
            return;
        }

        string origin = context.Request.Headers.Origin.ToString();
        if (IsAllowed(_origins, origin))
        {
            IHeaderDictionary headers = context.Response.Headers;
            headers.AccessControlAllowMethods = "POST, GET, OPTIONS, PUT, DELETE";
            headers.AccessControlAllowOrigin = _origins.Count == 0 || _origins.Contains(Any) ? Any : origin;
            headers.AccessControlAllowHeaders = "accept, content-type, authorization";
        }

        if (!HttpMethods.IsOptions(context.Request.Method))
        {
            await next(context);
        }
    }

    private static bool IsAllowed(HashSet<string> allowed, string name) => allowed.Count == 0 || allowed.Contains(Any) || allowed.Contains(name);

    private static async Task RefuseAsync(HttpContext context, int status, string text)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "text/plain; charset=utf-8";
        context.Response.Headers.XContentTypeOptions = "nosniff";
        await context.Response.WriteAsync(text, context.RequestAborted);
    }

    private static string UnknownHost(string host) => $"""

        etcd received your request, but the Host header was unrecognized.

        To fix this, choose one of the following options:
        - Enable TLS, then any HTTPS request will be allowed.
        - Add the hostname you want to use to the whitelist in settings.
          - e.g. etcd --host-whitelist "{JsonEncodedText.Encode(host)}"

        This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).


        """;
}
