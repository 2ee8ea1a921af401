using System.Text;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Metrics;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// /health, /livez, /readyz, /version, /debug/vars, /metrics, and what is answered where there is nothing.
/// etcd: etcdhttp/health.go, version.go, debug.go, metrics.go
/// </summary>
internal sealed class HealthEndpoints(ReplicaHost host, ServerMetrics metrics)
{
    private const string PlainText = "text/plain; charset=utf-8";

    public void Map(IEndpointRouteBuilder routes)
    {
        MapGet(routes, "/health", HealthAsync);
        Dictionary<string, Func<CancellationToken, Task<string?>>> live = new() { ["serializable_read"] = SerializableReadAsync };
        Dictionary<string, Func<CancellationToken, Task<string?>>> ready = new()
        {
            ["data_corruption"] = NotCorruptAsync,
            ["serializable_read"] = SerializableReadAsync,
            ["linearizable_read"] = LinearizableReadAsync,
            ["non_learner"] = NotLearnerAsync,
        };
        MapChecks(routes, "/livez", live);
        MapChecks(routes, "/readyz", ready);
        MapGet(routes, "/version", WriteVersionAsync);
        MapGet(routes, "/debug/vars", context => DebugVars.ServeAsync(context, host));
        routes.Map("/metrics", context => MetricsText.ServeAsync(context, metrics.Write));
    }

    public static Task WriteVersionAsync(HttpContext context) => WriteAsync(
        context,
        200,
        "application/json",
        $"{{\"etcdserver\":\"{EtcdVersion.Server}\",\"etcdcluster\":\"{EtcdVersion.Cluster}\",\"storage\":\"{EtcdVersion.Storage}\"}}");

    public static Task NotFoundAsync(HttpContext context) => WriteAsync(context, 404, PlainText, "404 page not found\n");

    /// <summary>Other methods are refused as upstream refuses them: in words.</summary>
    private static void MapGet(IEndpointRouteBuilder routes, string path, RequestDelegate serve) => routes.Map(path, context =>
    {
        if (HttpMethods.IsGet(context.Request.Method))
        {
            return serve(context);
        }

        context.Response.Headers.Allow = "GET";
        return WriteAsync(context, 405, PlainText, "Method Not Allowed\n");
    });

    private static async Task WriteAsync(HttpContext context, int status, string contentType, string body)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(body);
        context.Response.StatusCode = status;
        context.Response.ContentType = contentType;
        context.Response.ContentLength = bytes.Length;
        context.Response.Headers.XContentTypeOptions = "nosniff";

        await context.Response.Body.WriteAsync(bytes, context.RequestAborted);
    }

    private async Task HealthAsync(HttpContext context)
    {
        bool serializable = context.Request.Query["serializable"] == "true";
        string?[] excluded = [.. context.Request.Query["exclude"]];
        string reason = await UnhealthyBecauseAsync(serializable, excluded, context.RequestAborted);
        metrics.CountHealth(reason.Length == 0);
        string health = reason.Length == 0 ? "true" : "false";
        string body = $"{{\"health\":\"{health}\",\"reason\":\"{reason}\"}}";
        await WriteAsync(context, reason.Length == 0 ? 200 : 503, PlainText, reason.Length == 0 ? body : body + "\n");
    }

    private async Task<string> UnhealthyBecauseAsync(bool serializable, string?[] excluded, CancellationToken cancellation)
    {
        AlarmType[] alarms = host.Reading(() => host.Replica.Applier.Alarms.Select(static a => a.Alarm).ToArray());
        foreach (AlarmType alarm in alarms)
        {
            string name = alarm.ToString().ToUpperInvariant();
            if (!excluded.Contains(name))
            {
                return "ALARM " + name;
            }
        }

        if (serializable)
        {
            return "";
        }

        if (host.Replica.Raft.Leader.IsNone)
        {
            return "RAFT NO LEADER";
        }

        EtcdError? error = await host.ReadBarrierAsync(cancellation);
        return error is null ? "" : "RANGE ERROR:" + error.Text;
    }

    private static void MapChecks(IEndpointRouteBuilder routes, string path, Dictionary<string, Func<CancellationToken, Task<string?>>> checks)
    {
        MapGet(routes, path, context => RunChecksAsync(context, checks, [.. context.Request.Query["exclude"]]));
        foreach ((string name, Func<CancellationToken, Task<string?>> check) in checks)
        {
            MapGet(routes, $"{path}/{name}", context => RunChecksAsync(context, new() { [name] = check }, []));
        }
    }

    private static async Task RunChecksAsync(
        HttpContext context, Dictionary<string, Func<CancellationToken, Task<string?>>> checks, string?[] excluded)
    {
        StringBuilder report = new();
        bool good = true;
        foreach ((string name, Func<CancellationToken, Task<string?>> check) in checks.Where(c => !excluded.Contains(c.Key)))
        {
            string? failure = await check(context.RequestAborted);
            good &= failure is null;
            report.Append(failure is null ? $"[+]{name} ok\n" : $"[-]{name} failed: {failure}\n");
        }

        // etcd: health.go newHealthHandler: the details only on failure or when asked for.
        bool verbose = context.Request.Query.ContainsKey("verbose");
        string body = good && !verbose ? "ok\n" : report.ToString() + (good ? "ok\n" : "\n");
        await WriteAsync(context, good ? 200 : 503, PlainText, body);
    }

    private Task<string?> SerializableReadAsync(CancellationToken cancellation) =>
        Task.FromResult(host.Reading(() => host.Store.Revision > 0) ? null : "the store is empty");

    private async Task<string?> LinearizableReadAsync(CancellationToken cancellation) =>
        (await host.ReadBarrierAsync(cancellation))?.Text;

    private Task<string?> NotCorruptAsync(CancellationToken cancellation) =>
        Task.FromResult(host.Reading(() => host.Replica.Applier.HasAlarm(AlarmType.Corrupt)) ? "alarm activated: CORRUPT" : null);

    private Task<string?> NotLearnerAsync(CancellationToken cancellation) =>
        Task.FromResult(host.Replica.Raft.ConfState.Learners.Contains(host.Replica.Raft.Id) ? "not supported for learner" : null);
}
