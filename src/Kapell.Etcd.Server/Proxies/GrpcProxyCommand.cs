using System.Net;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Discovery;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http;
using Kapell.Etcd.Server.Logging;
using Kapell.Etcd.Server.Proxies.KeepAlives;
using Kapell.Etcd.Server.Proxies.Leasing;
using Kapell.Etcd.Server.Proxies.Watches;
using Kapell.Etcd.Server.Rpc;
using Kapell.Etcd.Server.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>
/// <c>etcd grpc-proxy start</c>: serves the whole API on one address by asking the members. Calls and streams are passed on as they are, so
/// that what a client sees is what a member says; watches of the same range are one at the member. etcd: etcdmain/grpc_proxy.go
/// </summary>
internal static class GrpcProxyCommand
{
    public static async Task<int> RunAsync(
        IReadOnlyList<string> args, TimeProvider time, Prng prng, (TextWriter Out, TextWriter Error) console, CancellationToken stopping)
    {
        GrpcProxyFlags flags = new();
        try
        {
            GrpcProxyOptions options = flags.Parse(args);
            if (flags.HelpWanted)
            {
                await console.Out.WriteLineAsync(flags.Help());
                return 0;
            }

            LogSettings settings = new() { Level = options.Debug ? LogLevel.Debug : LogLevel.Information };
            using EtcdLogs logs = new(settings, time, console.Out, console.Error);
            return await ServeAsync(options, time, prng, logs, stopping);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            return 0;
        }
        catch (Exception e) when (e is FlagException or IOException or UnauthorizedAccessException)
        {
            await console.Error.WriteLineAsync($"etcd grpc-proxy: {e.Message}");
            return 1;
        }
    }

    private static async Task<int> ServeAsync(GrpcProxyOptions options, TimeProvider time, Prng prng, ILoggerFactory logs, CancellationToken stopping)
    {
        ILogger logger = logs.CreateLogger("grpc-proxy");
        IReadOnlyList<string> endpoints = options.Domain.Length == 0 ? options.Endpoints
            : [.. (await new SrvDiscovery(DnsClient.OfMachine(prng, time), time)
                .ClientsAsync(options.Domain, options.ServiceName, options.InsecureDiscovery, options.Upstream.CaFile, stopping)).Select(static a => a.ToString())];
        if (endpoints.Count == 0)
        {
            throw new FlagException("no endpoints found");
        }

        await using Upstreams upstreams = new(options, endpoints, time, logger);
        TlsSettings? tls = TlsSettings.Load(options.AutoTls
            ? SelfSigned.Ensure(
                Path.Combine(options.DataDirectory, "fixtures", "proxy"), ["https://" + options.ListenAddress], options.SelfSignedYears, options.Tls, time.GetUtcNow())
            : options.Tls);
        ProxyMembers members = new(options, upstreams, Dns.GetHostName(), time, logger);
        CallCounter calls = new();
        GrpcBinder binder = new(calls);
        Dictionary<string, MessageView> views = new(options.Namespace.Length > 0 ? new KeyNamespace(options.Namespace).Views() : new Dictionary<string, MessageView>())
        {
            ["/etcdserverpb.Cluster/MemberList"] = members.View,
        };
        SharedWatches watches = new(upstreams, views.GetValueOrDefault(ProxyBinder.WatchMethod) ?? MessageView.None, options.SendBytesMax, time);
        SharedKeepAlives keepAlives = new(upstreams, views.GetValueOrDefault(SharedKeepAlives.Method) ?? MessageView.None, options.SendBytesMax, time);
        OrderedReads? order = options.OrdersReads ? new OrderedReads(time) : null;
        await (order?.RecoverAsync(upstreams, logger, stopping) ?? Task.CompletedTask);
        UpstreamCalls single = new(upstreams);
        LeasingSession? leasing = options.LeasingPrefix.Length > 0 ? AnswerLeased(options, upstreams, single, views, time, logger) : null;
        new ProxyBinder(upstreams, single, views, watches, keepAlives, order).Bind(binder, EtcdServer.ApiFiles);
        Protocol.GrpcHealth.Health.BindService(binder, new GrpcHealthService());
        ProxyPages pages = new(upstreams, calls, watches, time);
        await using WebApplication app = await StartAsync(options, tls, binder, pages, time, logs, stopping);
        Log.ProxyStarted(logger, options.ListenAddress, string.Join(", ", upstreams.Endpoints));
        Task held = leasing?.RunAsync(stopping) ?? Task.CompletedTask;
        await Task.WhenAll(members.RegisterAsync(stopping), upstreams.FollowAsync(stopping), held, Task.Delay(Timeout.InfiniteTimeSpan, time, stopping))
            .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return 0;
    }

    /// <summary>Has calls of keys answered by what is leased, before they reach the views that there are.</summary>
    private static LeasingSession AnswerLeased(
        GrpcProxyOptions options, Upstreams upstreams, UpstreamCalls calls, Dictionary<string, MessageView> views, TimeProvider time, ILogger logger)
    {
        LeasedKeys keys = new(time);
        MessageView inner = views.GetValueOrDefault(ProxyBinder.TxnMethod.FullName) ?? MessageView.None;
        LeasedKv kv = new(options.LeasingPrefix, keys, TransactAsync, time);
        foreach ((string method, Func<byte[], ServerCallContext, Task<byte[]?>> answer) in kv.Answers())
        {
            views[method] = (views.GetValueOrDefault(method) ?? MessageView.None) with { Answer = answer };
        }

        return new LeasingSession(new KeyNamespace(options.Namespace + options.LeasingPrefix), kv, keys, upstreams, time, logger);

        async Task<TxnResponse> TransactAsync(TxnRequest request, CallOptions call) => TxnResponse.Parser.ParseFrom(
            inner.Response(await calls.AskAsync(ProxyBinder.TxnMethod, inner.Request(request.ToByteArray()), call, isReader: false)));
    }

    private static async Task<WebApplication> StartAsync(
        GrpcProxyOptions options, TlsSettings? tls, GrpcBinder binder, ProxyPages pages, TimeProvider time, ILoggerFactory logs, CancellationToken stopping)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<ILoggerFactory>(new FrameworkLogs(logs));
        builder.Services.AddSingleton(typeof(ILogger<>), typeof(Logger<>));
        builder.Services.AddRouting();
        builder.WebHost.UseKestrelCore();
        PortSet ports = new("client", tls, logs.CreateLogger("grpc-proxy"));
        ports.Add([(tls is null ? "http://" : "https://") + options.ListenAddress], PortDuty.All);
        ports.Add(options.MetricsUrl.Length > 0 ? [options.MetricsUrl] : [], PortDuty.Web);
        LoopTransport.Use(builder.Services, time, ports.IsPlain);
        Http2Port calling = new(time, options.ConcurrentStreamsMax, options.KeepAlive);
        Http2Port plain = new(time, options.ConcurrentStreamsMax, options.KeepAlive);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            ports.Listen(kestrel, time, (listen, duty) =>
            {
                listen.Protocols = HttpProtocols.Http1AndHttp2;
                listen.Use(next => connection => (duty == PortDuty.All ? calling : plain).RunAsync(next, connection));
            });
        });
        WebApplication app = builder.Build();
        app.UseRouting();
        pages.Map(app);
        app.UseEndpoints(static _ => { });
        RequestDelegate web = ((IApplicationBuilder)app).Build();
        GrpcServer Serve(GrpcBinder methods) => new(methods, options.SendBytesMax + EtcdLimits.FrameBytes, web, app.Services, logs.CreateLogger("grpc-proxy"));
        calling.Server = Serve(binder);
        plain.Server = Serve(new GrpcBinder(new CallCounter()));
        try
        {
            await app.StartAsync(stopping);
            return app;
        }
        catch (IOException e) when (e.InnerException is AddressInUseException)
        {
            await app.DisposeAsync();
            throw new IOException($"listen tcp {ports}: bind: address already in use", e);
        }
    }
}
