using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Grpc.Core;
using Kapell.Kubelet.Cri;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Kapell.Kubelet.Server;

/// <summary>The kubelet's HTTPS port: logs, exec, attach, port-forward, health and numbers, for clients the authority vouches for.</summary>
internal sealed class KubeletServer : IAsyncDisposable
{
    private readonly KubeletOptions _options;
    private readonly NodeAgent _agent;
    private readonly TimeProvider _time;
    private readonly KubeletAuthorizer _authorizer;
    private readonly ContainerLogs _logs;
    private readonly StreamEndpoints _streams;
    private readonly StatsEndpoints _stats;
    private readonly ILogger _log;
    private readonly WebApplication _app;
    private readonly X509Certificate2Collection _authorities = [];

    public KubeletServer(KubeletOptions options, PodServices services, CriClient cri, NodeAgent agent, TimeProvider time, ILoggerFactory logs)
    {
        _options = options;
        _agent = agent;
        _time = time;
        _log = logs.CreateLogger("Kapell.Kubelet.Server");
        _authorizer = new KubeletAuthorizer(services.Client, options, time);
        _logs = new ContainerLogs(services.Reader, time);
        _streams = new StreamEndpoints(cri, services.Reader);
        _stats = new StatsEndpoints(cri, services);
        if (options.ClientCaFile.Length > 0)
        {
            _authorities.ImportFromPemFile(options.ClientCaFile);
        }

        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(logs);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(Configure);
        _app = builder.Build();
        _app.Run(HandleAsync);
    }

    public async Task StartAsync(CancellationToken cancellation)
    {
        try
        {
            await _app.StartAsync(cancellation);
        }
        catch (IOException e)
        {
            throw new KubeletStartException($"cannot serve on {_options.Address}:{_options.Port}: {e.Message}; choose another with --port");
        }
    }

    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource soon = new(TimeSpan.FromSeconds(2), _time);
        await _app.StopAsync(soon.Token);
        await _app.DisposeAsync();
    }

    private void Configure(KestrelServerOptions kestrel)
    {
        kestrel.AddServerHeader = false;
        kestrel.Limits.MaxRequestBodySize = null; // exec streams have no length.
        kestrel.Limits.MinRequestBodyDataRate = null;
        kestrel.Limits.MinResponseDataRate = null;
        X509Certificate2 own = _options.TlsCertFile.Length > 0
            ? X509Certificate2.CreateFromPemFile(_options.TlsCertFile, _options.TlsKeyFile)
            : SelfSigned();
        kestrel.Listen(IPAddress.Parse(_options.Address), _options.Port, listen =>
        {
            listen.Protocols = HttpProtocols.Http1; // Upgrades to SPDY and WebSocket are HTTP/1.1.
            listen.UseHttps(https =>
            {
                https.ServerCertificate = own;
                https.ClientCertificateMode = _authorities.Count > 0 ? ClientCertificateMode.AllowCertificate : ClientCertificateMode.NoCertificate;
                https.ClientCertificateValidation = (certificate, _, _) => IsTrusted(certificate);
            });
        });
    }

    private bool IsTrusted(X509Certificate2 certificate)
    {
        using X509Chain chain = new();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(_authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid("1.3.6.1.5.5.7.3.2")); // client authentication
        return chain.Build(certificate);
    }

    private X509Certificate2 SelfSigned()
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new($"CN={_options.NodeName}@kubelet", key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder names = new();
        names.AddDnsName(_options.NodeName);
        foreach (string ip in _options.NodeIps)
        {
            names.AddIpAddress(IPAddress.Parse(ip));
        }

        request.CertificateExtensions.Add(names.Build());
        DateTimeOffset now = _time.GetUtcNow();
        return request.CreateSelfSigned(now.AddHours(-1), now.AddYears(1));
    }

    private async Task HandleAsync(HttpContext context)
    {
        try
        {
            ClientIdentity who = ClientIdentity.Of(context.Connection.ClientCertificate);
            if (context.Connection.ClientCertificate is null && !_options.AnonymousAuth)
            {
                await TextAsync(context, 401, "Unauthorized");
                return;
            }

            string path = context.Request.Path.Value ?? "/";
            if (await _authorizer.RefusalAsync(who, context.Request.Method, path, context.RequestAborted) is { } refusal)
            {
                await TextAsync(context, 403, refusal);
                return;
            }

            await RouteAsync(context, path.Split('/', StringSplitOptions.RemoveEmptyEntries));
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The client left.
        }
        catch (Exception e) when (e is RpcException or IOException or StatusException or HttpRequestException or TimeoutException)
        {
            Log.TaskFailed(_log, context.Request.Path, e.Message);
            if (!context.Response.HasStarted)
            {
                await TextAsync(context, 500, e is RpcException rpc ? CriClient.Text(rpc) : e.Message);
            }
        }
    }

    private Task RouteAsync(HttpContext context, string[] path) => path switch
    {
        ["healthz" or "livez" or "readyz", ..] => TextAsync(context, 200, "ok"),
        ["containerLogs", string ns, string pod, string container] => LogsAsync(context, ns, pod, container),
        ["exec" or "attach", string ns, string pod, string container] => StreamAsync(context, path[0], ns, pod, container),
        ["exec" or "attach", string ns, string pod, _, string container] => StreamAsync(context, path[0], ns, pod, container),
        ["portForward", string ns, string pod] => StreamAsync(context, path[0], ns, pod, ""),
        ["portForward", string ns, string pod, _] => StreamAsync(context, path[0], ns, pod, ""),
        ["pods" or "runningpods"] => PodsAsync(context),
        ["stats", "summary"] => _stats.SummaryAsync(context),
        ["metrics"] or ["metrics", "resource"] => _stats.MetricsAsync(context, path.Length > 1),
        _ => TextAsync(context, 404, "404 page not found"),
    };

    private async Task LogsAsync(HttpContext context, string ns, string podName, string container)
    {
        if (_agent.Find(ns, podName) is not { } pod)
        {
            await TextAsync(context, 404, $"pod \"{podName}\" does not exist");
            return;
        }

        await _logs.ServeAsync(context, pod, container);
    }

    private async Task StreamAsync(HttpContext context, string kind, string ns, string podName, string container)
    {
        if (_agent.Find(ns, podName) is not { } pod)
        {
            await TextAsync(context, 404, "pod does not exist");
            return;
        }

        await _streams.ServeAsync(context, kind, pod, container);
    }

    private Task PodsAsync(HttpContext context)
    {
        JsonArray items = [];
        foreach (Pod pod in _agent.Pods)
        {
            items.Add((JsonNode)pod.Object.ToNode());
        }

        JsonObject list = new() { ["kind"] = "PodList", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["items"] = items };
        context.Response.ContentType = "application/json";
        return context.Response.Body.WriteAsync(JsonBytes.Of(list), context.RequestAborted).AsTask();
    }

    internal static async Task TextAsync(HttpContext context, int code, string text)
    {
        byte[] body = Encoding.UTF8.GetBytes(text);
        context.Response.StatusCode = code;
        context.Response.ContentType = "text/plain; charset=utf-8";
        context.Response.ContentLength = body.Length;
        await context.Response.Body.WriteAsync(body, context.RequestAborted);
    }
}
