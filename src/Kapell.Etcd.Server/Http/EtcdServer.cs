using System.Net.Sockets;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Comparison;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http.Gateway;
using Kapell.Etcd.Server.Metrics;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Etcd.Server.Rpc.Concurrency;
using Kapell.Etcd.Server.Snapshots;
using Kapell.Etcd.Server.Sockets;
using Kapell.Etcd.Server.Tracing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Http;

/// <summary>The ports: gRPC and plain HTTP on each client address, with or without TLS.</summary>
internal sealed class EtcdServer : IAsyncDisposable
{
    // etcd: embed/etcd.go Close gives calls the time that one may take.
    private static readonly TimeSpan StopPatience = TimeSpan.FromMilliseconds(ReplicaTurns.RequestMilliseconds);

    private readonly WebApplication _app;
    private readonly CallGate _gate;
    private readonly CallTraces? _traces;
    private readonly TimeProvider _time;

    private EtcdServer(WebApplication app, CallGate gate, CallTraces? traces, TimeProvider time) => (_app, _gate, _traces, _time) = (app, gate, traces, time);

    /// <param name="opened">When calls are served; pages are before.</param>
    /// <exception cref="IOException">A port is taken, or an address cannot be listened on.</exception>
    public static async Task<EtcdServer> StartAsync(
        EtcdOptions options, ReplicaHost host, PeerMetrics peers, SnapshotFiles snapshots, LeaderCalls leader, MembershipRules rules, ComparisonState comparison, Prng prng, ILoggerFactory logs,
        Task opened, CancellationToken cancellation)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<ILoggerFactory>(new FrameworkLogs(logs));
        builder.Services.AddSingleton(typeof(ILogger<>), typeof(Logger<>));
        builder.Services.AddSingleton(host);
        builder.Services.AddSingleton(options.Limits);
        builder.Services.AddSingleton(snapshots);
        builder.Services.AddSingleton(leader);
        builder.Services.AddSingleton(rules);
        builder.Services.AddSingleton(comparison);
        builder.Services.AddSingleton(new LeaseIds(prng));
        CallCounter calls = new(options.MeasuresCalls);
        WatchCounts watches = new();
        builder.Services.AddSingleton(calls);
        builder.Services.AddSingleton(watches);
        Authenticator authenticator = new(host, options.Auth);
        builder.Services.AddSingleton(authenticator);
        builder.Services.AddSingleton<Proposer>();
        builder.Services.AddSingleton<KvService>();
        builder.Services.AddSingleton<WatchService>();
        builder.Services.AddSingleton<LeaseService>();
        builder.Services.AddSingleton<ClusterService>();
        builder.Services.AddSingleton<MaintenanceService>();
        builder.Services.AddSingleton<AuthService>();
        builder.Services.AddSingleton<WatchServiceBase>(static services => services.GetRequiredService<WatchService>());
        builder.Services.AddSingleton<Candidacy>();
        builder.Services.AddSingleton<LockService>();
        builder.Services.AddSingleton<ElectionService>();
        builder.Services.AddRouting();
        TlsSettings? tls = TlsSettings.Load(options.Tls);
        if (tls is not null)
        {
            tls.Refused = (subject, reason) => Log.CertificateRefused(logs.CreateLogger("etcd"), subject, reason);
            tls.Unreadable = (file, reason) => Log.CertificateUnreadable(logs.CreateLogger("etcd"), file, reason);
        }

        builder.WebHost.UseKestrelCore();

        // Each hand-over between threads costs more than what is done there: reading, taking and answering are one piece of work. And to ask
        // a socket first whether there is something is a system call more for each request; a connection holds a block instead, of which only
        // what was once written to is resident.
        builder.WebHost.UseSockets(sockets =>
        {
            (sockets.UnsafePreferInlineScheduling, sockets.WaitForDataBeforeAllocatingBuffer) = (true, false);
            ReusedPort.Allow(sockets, options.ReusesPorts);
        });
        SocketBlocks.Use(builder.Services);
        Http2Port calling = new(host.Time, options.ConcurrentStreamsMax, options.KeepAlive) { Opened = opened };
        Http2Port plain = new(host.Time, options.ConcurrentStreamsMax, options.KeepAlive);
        PortSet ports = PortsOf(options, tls, logs.CreateLogger("etcd"));
        LoopTransport.Use(builder.Services, host.Time, ports.IsPlain);
        builder.WebHost.ConfigureKestrel(kestrel => Configure(kestrel, ports, host.Time, duty => duty is PortDuty.All or PortDuty.Calls ? calling : plain));
        WebApplication app = builder.Build();
        AccessControl access = new(options.Cors, options.HostWhitelist, authenticator);
        app.Use(static next => context => PortGuard.ServeAsync(context, next));
        app.Use(next => context => access.ServeAsync(context, next));
        app.UseRouting();
        new HealthEndpoints(host, new ServerMetrics(host, options, calls, watches, comparison, leader, peers)).Map(app);
        if (options.EnableGateway)
        {
            GatewayBinder routes = new(ApiFiles.SelectMany(static f => f.Services));
            BindApi(routes, app.Services);
            Gateway.Gateway gateway = new(routes, options.Limits, options.ConcurrentStreamsMax, host.Time, opened, app.Lifetime.ApplicationStopping);
            app.UseWebSockets(WebSocketsOf(options));
            app.Map("/v3/{**path}", gateway.ServeAsync);
            app.Map("/v3beta/{**path}", gateway.ServeAsync);
        }

        app.UseEndpoints(static _ => { });
        app.Run(HealthEndpoints.NotFoundAsync);
        RequestDelegate web = ((IApplicationBuilder)app).Build();
        CallTraces? traces = options.Tracing is { } tracing ? new CallTraces(tracing) : null;
        CallGate gate = new(host, TimeSpan.FromMilliseconds(options.ElectionMilliseconds));
        GrpcServer Serve(GrpcBinder binder) =>
            new(binder, options.Limits.RequestBytesMax + EtcdLimits.FrameBytes, web, app.Services, logs.CreateLogger("etcd")) { Gate = gate, SlowAfter = options.SlowCallAfter, Traces = traces };
        calling.Server = Serve(Bind(app.Services, calls));
        plain.Server = Serve(new GrpcBinder(new CallCounter(measures: false)));
        try
        {
            await app.StartAsync(cancellation);
        }
        catch (IOException e) when (e.InnerException is AddressInUseException)
        {
            await app.DisposeAsync();
            traces?.Dispose();
            throw new IOException(
                $"listen tcp {ports}: bind: address already in use; stop what listens there or choose "
                + "another --listen-client-urls", e);
        }
        catch (SocketException e)
        {
            await app.DisposeAsync();
            traces?.Dispose();
            throw new IOException($"cannot listen on {string.Join(", ", options.ListenClientUrls)}: {e.Message}", e);
        }

        gate.Start();
        return new EtcdServer(app, gate, traces, host.Time);
    }

    /// <summary>Calls under way are answered first, for as long as one may take; streams without end are told that the server stops.</summary>
    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource late = new(StopPatience, _time);
        await _app.StopAsync(late.Token);
        await _app.DisposeAsync();
        await _gate.DisposeAsync();
        _traces?.Dispose();
    }

    // A page may open a WebSocket to everybody, and the browser sends our cookies along: those of other origins than are allowed are refused.
    private static WebSocketOptions WebSocketsOf(EtcdOptions options)
    {
        WebSocketOptions sockets = new();
        foreach (string origin in options.Cors)
        {
            sockets.AllowedOrigins.Add(origin);
        }

        return sockets;
    }

    private static GrpcBinder Bind(IServiceProvider services, CallCounter calls)
    {
        GrpcBinder binder = new(calls);
        BindApi(binder, services);
        Protocol.GrpcHealth.Health.BindService(binder, new GrpcHealthService());
        GrpcReflectionService reflection = new([.. ApiFiles, Protocol.GrpcHealth.HealthReflection.Descriptor, Protocol.GrpcReflection.ReflectionReflection.Descriptor]);
        Protocol.GrpcReflection.ServerReflection.BindService(binder, reflection);
        GrpcReflectionService.BindAlpha(binder, reflection);
        return binder;
    }

    /// <summary>The files of the API that both ways in, gRPC and JSON, offer.</summary>
    internal static FileDescriptor[] ApiFiles =>
    [
        Protocol.KvReflection.Descriptor, Protocol.WatchReflection.Descriptor, Protocol.LeaseReflection.Descriptor, Protocol.ClusterReflection.Descriptor,
        Protocol.MaintenanceReflection.Descriptor, Protocol.AuthReflection.Descriptor, Protocol.Locks.V3LockReflection.Descriptor,
        Protocol.Elections.V3ElectionReflection.Descriptor,
    ];

    private static void BindApi(ServiceBinderBase binder, IServiceProvider services)
    {
        KvBinding.Bind(binder, services.GetRequiredService<KvService>());
        WatchBinding.Bind(binder, services.GetRequiredService<WatchService>());
        Protocol.Lease.BindService(binder, services.GetRequiredService<LeaseService>());
        Protocol.Cluster.BindService(binder, services.GetRequiredService<ClusterService>());
        Protocol.Maintenance.BindService(binder, services.GetRequiredService<MaintenanceService>());
        Protocol.Auth.BindService(binder, services.GetRequiredService<AuthService>());
        Protocol.Locks.Lock.BindService(binder, services.GetRequiredService<LockService>());
        Protocol.Elections.Election.BindService(binder, services.GetRequiredService<ElectionService>());
    }

    private static PortSet PortsOf(EtcdOptions options, TlsSettings? tls, ILogger logger)
    {
        PortSet ports = new("client", tls, logger);
        ports.Add(options.ListenClientUrls, options.ListenClientHttpUrls.Count > 0 ? PortDuty.Calls : PortDuty.All);
        ports.Add(options.ListenClientHttpUrls, PortDuty.Web);
        ports.Add(options.ListenMetricsUrls, PortDuty.Metrics);
        return ports;
    }

    private static void Configure(KestrelServerOptions kestrel, PortSet ports, TimeProvider time, Func<PortDuty, Http2Port> http2)
    {
        kestrel.AddServerHeader = false;
        kestrel.Limits.MaxRequestBodySize = null;
        kestrel.Limits.MinRequestBodyDataRate = null;
        kestrel.Limits.MinResponseDataRate = null;
        ports.Listen(kestrel, time, (listen, duty) =>
        {
            listen.Protocols = HttpProtocols.Http1AndHttp2;
            listen.Use(next => connection => http2(duty).RunAsync(next, connection));
        });
    }
}
