using System.Buffers;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Kapell.ApiServer.Http;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Kapell.ApiServer.Subresources;

/// <summary>Forwards one request to a back end: streamed both ways, or as a raw byte tunnel when the client asks to upgrade.</summary>
internal sealed class ProxyRequest(KubeletTransport transport, TimeProvider time)
{
    private const int ErrorBytesMax = 50_000;

    // Credentials are for us, not for what stands behind us; the rest belongs to one connection (RFC 9110 §7.6.1).
    private static readonly HashSet<string> NotForwarded = new(StringComparer.OrdinalIgnoreCase)
    {
        "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding",
        "Upgrade", "Host", "Authorization", "Content-Length",
    };

    /// <param name="pathAndQuery">Begins with a slash, already escaped.</param>
    /// <param name="errorsAsStatus">Answers of 300 and more become a Status (logs, exec); a plain proxy passes them on.</param>
    public async Task ForwardAsync(
        HttpContext context, ProxyTarget target, string pathAndQuery, GroupResource resource, string name, bool errorsAsStatus, CancellationToken cancel)
    {
        try
        {
            if (context.Features.Get<IHttpUpgradeFeature>() is { IsUpgradableRequest: true } upgrade)
            {
                await TunnelAsync(context, upgrade, target, pathAndQuery, cancel);
                return;
            }

            await StreamAsync(context, target, pathAndQuery, resource, name, errorsAsStatus, cancel);
        }
        catch (Exception e) when (!context.Response.HasStarted && IsUnreachable(e) && !cancel.IsCancellationRequested)
        {
            string why = (e.InnerException ?? e).Message;
            string text = $"error dialing backend: dial tcp {target.Authority}: {why}";
            throw new StatusException(errorsAsStatus ? Status.InternalError(text) : Status.ServiceUnavailable(text));
        }
    }

    private static bool IsUnreachable(Exception e) =>
        e is HttpRequestException or SocketException or IOException or System.Security.Authentication.AuthenticationException;

    private async Task StreamAsync(
        HttpContext context, ProxyTarget target, string pathAndQuery, GroupResource resource, string name, bool errorsAsStatus, CancellationToken cancel)
    {
        using HttpRequestMessage request = new(new HttpMethod(context.Request.Method), $"http://{target.Authority}{pathAndQuery}");
        request.Version = System.Net.HttpVersion.Version11;
        bool hasBody = context.Request.ContentLength is > 0 || context.Request.Headers.TransferEncoding.Count > 0;
        if (hasBody)
        {
            request.Content = new StreamContent(context.Request.Body);
            request.Content.Headers.ContentLength = context.Request.ContentLength;
        }

        foreach ((string header, Microsoft.Extensions.Primitives.StringValues values) in context.Request.Headers)
        {
            if (!NotForwarded.Contains(header) && !header.StartsWith(':') && !request.Headers.TryAddWithoutValidation(header, values.ToArray()))
            {
                request.Content?.Headers.TryAddWithoutValidation(header, values.ToArray());
            }
        }

        using HttpResponseMessage response = await transport.SendAsync(request, target, cancel);
        if (errorsAsStatus && (int)response.StatusCode is < 200 or > 206)
        {
            throw new StatusException(ErrorOf((int)response.StatusCode, await ReadErrorAsync(response, cancel), resource, name));
        }

        context.Response.StatusCode = (int)response.StatusCode;
        foreach ((string header, IEnumerable<string> values) in response.Headers.Concat(response.Content.Headers))
        {
            if (!NotForwarded.Contains(header))
            {
                context.Response.Headers[header] = values.ToArray();
            }
        }

        context.Response.ContentLength = response.Content.Headers.ContentLength;
        await context.Response.StartAsync(cancel);
        await using Stream body = await response.Content.ReadAsStreamAsync(cancel);
        await CopyAsync(body, context.Response.Body, cancel);
    }

    private async Task TunnelAsync(
        HttpContext context, IHttpUpgradeFeature upgrade, ProxyTarget target, string pathAndQuery, CancellationToken cancel)
    {
        await using Stream back = await transport.ConnectAsync(target.Host, target.Port, target.Scheme == "https", target.IsKubelet, cancel);
        await back.WriteAsync(RequestHead(context, target, pathAndQuery), cancel);
        await back.FlushAsync(cancel);
        ResponseHead head = await ResponseHead.ReadAsync(back, cancel);
        if (head.Code != StatusCodes.Status101SwitchingProtocols)
        {
            // The refusal goes on as it is: clients print its text. Upstream: UpgradeAwareHandler writes the backend's response through.
            string text = await head.ReadBodyAsync(back, ErrorBytesMax, cancel);
            context.Response.StatusCode = head.Code;
            context.Response.ContentType = head.Headers.FirstOrDefault(static h => h.Name.Equals("Content-Type", StringComparison.OrdinalIgnoreCase)).Value
                ?? "text/plain; charset=utf-8";
            await context.Response.WriteAsync(text, cancel);
            return;
        }

        foreach ((string header, string value) in head.Headers)
        {
            if (!NotForwarded.Contains(header) || header.Equals("Upgrade", StringComparison.OrdinalIgnoreCase))
            {
                context.Response.Headers.Append(header, value);
            }
        }

        await using Stream front = await upgrade.UpgradeAsync();
        if (head.Rest.Length > 0)
        {
            await front.WriteAsync(head.Rest, cancel);
            await front.FlushAsync(cancel);
        }

        await ByteTunnel.RelayAsync(front, back, time, cancel);
    }

    private static byte[] RequestHead(HttpContext context, ProxyTarget target, string pathAndQuery)
    {
        StringBuilder head = new();
        head.Append(CultureInfo.InvariantCulture, $"{context.Request.Method} {pathAndQuery} HTTP/1.1\r\nHost: {target.Authority}\r\nConnection: Upgrade\r\n");
        head.Append(CultureInfo.InvariantCulture, $"Upgrade: {context.Request.Headers.Upgrade}\r\n");
        foreach ((string header, Microsoft.Extensions.Primitives.StringValues values) in context.Request.Headers)
        {
            if (NotForwarded.Contains(header) || header.StartsWith(':'))
            {
                continue;
            }

            foreach (string? value in values)
            {
                head.Append(CultureInfo.InvariantCulture, $"{header}: {CleanProtocols(header, value)}\r\n");
            }
        }

        if (context.Request.Method is "POST" or "PUT")
        {
            head.Append("Content-Length: 0\r\n");
        }

        return Encoding.Latin1.GetBytes(head.Append("\r\n").ToString());
    }

    /// <summary>A bearer token sent as a WebSocket subprotocol is not for the kubelet (upstream: websocket.ProtocolAuthenticator).</summary>
    private static string CleanProtocols(string header, string? value) =>
        !header.Equals("Sec-WebSocket-Protocol", StringComparison.OrdinalIgnoreCase)
            ? value ?? ""
            : string.Join(", ", (value ?? "").Split(',', StringSplitOptions.TrimEntries)
                .Where(p => !p.StartsWith("base64url.bearer.authorization.k8s.io.", StringComparison.Ordinal)));

    /// <summary>Upstream: registry/generic/rest/response_checker.go.</summary>
    private static Status ErrorOf(int code, string text, GroupResource resource, string name)
    {
        text = text.TrimEnd('\n', '\r');
        return code switch
        {
            500 => Status.InternalError(text),
            400 => Status.BadRequest(text),
            404 => Status.NotFound(resource, name) with { Message = text.Length > 0 ? text : $"the server could not find the requested resource ( {resource} {name})" },
            403 => Status.Forbidden(resource, name, text),
            401 => Status.InternalError("the kubelet does not accept the API server's credentials: " + text),
            _ => new Status { Code = code < 400 ? 500 : code, Reason = code < 500 ? "" : "InternalError", Message = text, Kind = resource.Resource, Name = name },
        };
    }

    private static async Task<string> ReadErrorAsync(HttpResponseMessage response, CancellationToken cancel)
    {
        await using Stream body = await response.Content.ReadAsStreamAsync(cancel);
        byte[] buffer = new byte[ErrorBytesMax];
        int length = await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancel);
        return Encoding.UTF8.GetString(buffer, 0, length);
    }

    private static async Task CopyAsync(Stream from, Stream to, CancellationToken cancel)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(32 * 1024);
        try
        {
            while (true)
            {
                int length = await from.ReadAsync(buffer, cancel);
                if (length == 0)
                {
                    return;
                }

                // Flushed each time: a follower of a log wants each line now.
                await to.WriteAsync(buffer.AsMemory(0, length), cancel);
                await to.FlushAsync(cancel);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
