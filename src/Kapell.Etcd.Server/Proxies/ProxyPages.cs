using System.Globalization;
using System.Text;
using System.Text.Json;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Metrics;
using Kapell.Etcd.Server.Proxies.Watches;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>
/// What a proxy serves over plain HTTP: /metrics of a member, /health of the cluster, /proxy/metrics and /proxy/health of its own.
/// etcd: server/proxy/grpcproxy/metrics.go, health.go
/// </summary>
internal sealed class ProxyPages(Upstreams upstreams, CallCounter calls, SharedWatches watches, TimeProvider time)
{
    private static readonly TimeSpan HealthTimeout = TimeSpan.FromSeconds(5);

    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/metrics", MemberMetricsAsync);
        routes.MapGet("/health", HealthAsync);
        routes.MapGet("/proxy/metrics", context => MetricsText.ServeAsync(context, WriteOwn));
        routes.MapGet("/proxy/health", HealthAsync);
    }

    // Piece by piece, for it may be large. When it breaks off while nothing was passed on yet, another member is asked.
    private async Task MemberMetricsAsync(HttpContext context)
    {
        using HttpClient client = new(upstreams.Handler, disposeHandler: false) { Timeout = Timeout.InfiniteTimeSpan };
        foreach (Upstream upstream in upstreams.InOrder())
        {
            using CancellationTokenSource late = new(HealthTimeout, time);
            using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, context.RequestAborted);
            try
            {
                Uri page = new(upstream.Address.TrimEnd('/') + "/metrics");
                using HttpResponseMessage told = (await client.GetAsync(page, HttpCompletionOption.ResponseHeadersRead, either.Token)).EnsureSuccessStatusCode();
                MetricsText.Announce(context.Response);
                await told.Content.CopyToAsync(context.Response.Body, either.Token);
                upstreams.Heard(upstream);
                return;
            }
            catch (Exception e) when (e is HttpRequestException or OperationCanceledException && !context.RequestAborted.IsCancellationRequested)
            {
                upstreams.Suspect(upstream, late.IsCancellationRequested ? $"no whole answer within {HealthTimeout.TotalSeconds:F0} s" : e.Message);
                if (context.Response.HasStarted)
                {
                    context.Abort();
                    return;
                }
            }
        }

        await WriteAsync(context, 503, "no member answers\n");
    }

    // A key that nobody has: to be refused it is an answer too.
    private async Task HealthAsync(HttpContext context)
    {
        string reason = "no endpoint is known";
        foreach (Upstream upstream in upstreams.InOrder())
        {
            try
            {
                RangeRequest request = new() { Key = Google.Protobuf.ByteString.CopyFromUtf8("a") };
                await new KV.KVClient(upstream.Channel).RangeAsync(
                    request, deadline: (time.GetUtcNow() + HealthTimeout).UtcDateTime, cancellationToken: context.RequestAborted);
                reason = "";
                upstreams.Heard(upstream);
                break;
            }
            catch (RpcException e)
            {
                reason = e.StatusCode is StatusCode.PermissionDenied or StatusCode.InvalidArgument ? "" : "GET ERROR:" + e.Status.Detail;
                if (reason.Length == 0)
                {
                    break;
                }

                upstreams.Suspect(upstream, e.Status.Detail);
            }
        }

        string good = reason.Length == 0 ? "true" : "false";
        await WriteAsync(context, reason.Length == 0 ? 200 : 503, $"{{\"health\":\"{good}\",\"reason\":\"{JsonEncodedText.Encode(reason)}\"}}");
    }

    private void WriteOwn(MetricsText text)
    {
        (long spared, long responses) = watches.Spared;
        text.Gauge("etcd_grpc_proxy_watchers_coalescing_total", "Total number of current watchers coalescing", spared);
        text.Counter("etcd_grpc_proxy_events_coalescing_total", "Total number of events coalescing", responses);
        CallMetrics.WriteMethods(text, calls);
    }

    private static Task WriteAsync(HttpContext context, int status, string text)
    {
        context.Response.StatusCode = status;
        MetricsText.Announce(context.Response);
        return context.Response.WriteAsync(text, context.RequestAborted);
    }
}
