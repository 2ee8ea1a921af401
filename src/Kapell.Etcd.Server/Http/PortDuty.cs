using Microsoft.AspNetCore.Http;

namespace Kapell.Etcd.Server.Http;

/// <summary>What a port is for. etcd: embed/etcd.go serveClients, serveMetrics</summary>
internal enum PortDuty
{
    /// <summary>gRPC, and JSON, health and metrics over HTTP.</summary>
    All,

    /// <summary>gRPC alone: there are other addresses for HTTP (--listen-client-http-urls).</summary>
    Calls,

    /// <summary>HTTP without gRPC.</summary>
    Web,

    /// <summary>Metrics and health alone (--listen-metrics-urls): these addresses may be open where the store must not be.</summary>
    Metrics,
}

/// <summary>Hangs on each connection; stands before the HTTP application.</summary>
internal sealed record PortGuard(PortDuty Duty)
{
    private static readonly string[] WatchedPaths = ["/metrics", "/health", "/livez", "/readyz"];

    public static Task ServeAsync(HttpContext context, RequestDelegate next)
    {
        PortDuty duty = context.Features.Get<PortGuard>()?.Duty ?? PortDuty.All;
        bool allowed = duty switch
        {
            PortDuty.Calls => false,
            PortDuty.Metrics => Array.Exists(WatchedPaths, path => context.Request.Path.StartsWithSegments(path, StringComparison.Ordinal)),
            _ => true,
        };
        if (allowed)
        {
            return next(context);
        }

        context.Response.StatusCode = StatusCodes.Status404NotFound;
        return Task.CompletedTask;
    }
}
