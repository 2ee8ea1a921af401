using System.Net;
using System.Net.Sockets;
using Kapell.Base;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Rpc;
using Kapell.Etcd.Server.Snapshots;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Http;

/// <summary>The ports: gRPC and plain HTTP on each client address, with or without TLS.</summary>
internal sealed class EtcdServer : IAsyncDisposable
{
    private const int StreamsPerConnectionMax = 100_000; // etcd: no limit; gRPC clients put all their calls on one connection
    private const int WindowBytes = 8 << 20;
    private readonly WebApplication _app;

    private EtcdServer(WebApplication app) => _app = app;

    /// <exception cref="IOException">A port is taken, or an address cannot be listened on.</exception>
    public static async Task<EtcdServer> StartAsync(
        EtcdOptions options, ReplicaHost host, SnapshotFiles snapshots, Prng prng, ILoggerFactory logs, CancellationToken cancellation)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<ILoggerFactory>(new FrameworkLogs(logs));
        builder.Services.AddSingleton(typeof(ILogger<>), typeof(Logger<>));
        builder.Services.AddSingleton(host);
        builder.Services.AddSingleton(options.Limits);
        builder.Services.AddSingleton(snapshots);
        builder.Services.AddSingleton(new LeaseIds(prng));
        CallCounter calls = new();
        WatchCounts watches = new();
        builder.Services.AddSingleton(calls);
        builder.Services.AddSingleton(watches);
        builder.Services.AddSingleton<Proposer>();
        builder.Services.AddSingleton<KvService>();
        builder.Services.AddSingleton<WatchService>();
        builder.Services.AddSingleton<LeaseService>();
        builder.Services.AddSingleton<ClusterService>();
        builder.Services.AddSingleton<MaintenanceService>();
        builder.Services.AddSingleton<AuthService>();
        builder.Services.AddRouting();
        builder.Services.AddGrpc(grpc =>
        {
            grpc.MaxReceiveMessageSize = options.Limits.RequestBytesMax + EtcdLimits.FrameBytes;
            grpc.MaxSendMessageSize = null;
            grpc.Interceptors.Add<CallCounter>();
        });
        TlsSettings? tls = TlsSettings.Load(options.Tls);
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(kestrel => Configure(kestrel, options, host, tls));
        WebApplication app = builder.Build();
        app.UseRouting();
        app.MapGrpcService<KvService>();
        app.MapGrpcService<WatchService>();
        app.MapGrpcService<LeaseService>();
        app.MapGrpcService<ClusterService>();
        app.MapGrpcService<MaintenanceService>();
        app.MapGrpcService<AuthService>();
        new HealthEndpoints(host, options.Limits, new ServerMetrics(calls, watches)).Map(app);
        try
        {
            await app.StartAsync(cancellation);
        }
        catch (IOException e) when (e.InnerException is AddressInUseException)
        {
            await app.DisposeAsync();
            throw new IOException(
                $"listen tcp {string.Join(", ", options.ListenClientUrls.Concat(options.ListenMetricsUrls).Select(static u => new Uri(u).Authority))}: bind: address already in use; stop what listens there or choose "
                + "another --listen-client-urls", e);
        }
        catch (SocketException e)
        {
            await app.DisposeAsync();
            throw new IOException($"cannot listen on {string.Join(", ", options.ListenClientUrls)}: {e.Message}", e);
        }

        return new EtcdServer(app);
    }

    public async ValueTask DisposeAsync()
    {
        // Watches never end by themselves: do not wait for them.
        using CancellationTokenSource soon = new();
        await soon.CancelAsync();
        await _app.StopAsync(soon.Token);
        await _app.DisposeAsync();
    }

    private static void Configure(KestrelServerOptions kestrel, EtcdOptions options, ReplicaHost host, TlsSettings? tls)
    {
        kestrel.AddServerHeader = false;
        kestrel.AllowAlternateSchemes = true;
        kestrel.Limits.MaxRequestBodySize = null;
        kestrel.Limits.MinRequestBodyDataRate = null;
        kestrel.Limits.MinResponseDataRate = null;
        kestrel.Limits.Http2.MaxStreamsPerConnection = StreamsPerConnectionMax;
        kestrel.Limits.Http2.InitialConnectionWindowSize = WindowBytes;
        kestrel.Limits.Http2.InitialStreamWindowSize = WindowBytes / 4;
        foreach (string url in options.ListenClientUrls.Concat(options.ListenMetricsUrls).Distinct())
        {
            ListenAddress address = ListenAddress.Parse(url);
            if (address.IsTls && tls is null)
            {
                throw new FlagException($"listen on {url}: --cert-file and --key-file are needed for https");
            }

            foreach (IPEndPoint endpoint in address.EndPoints)
            {
                kestrel.Listen(endpoint, listen => ConfigurePort(listen, address.IsTls ? tls : null, host));
            }
        }
    }

    private static void ConfigurePort(ListenOptions listen, TlsSettings? tls, ReplicaHost host)
    {
        listen.Protocols = HttpProtocols.Http1AndHttp2;
        if (tls is not null)
        {
            listen.UseHttps(tls.Configure);
            return;
        }

        ProtocolSniffer sniffer = new(host.Time);
        listen.Use(next => connection => sniffer.RunAsync(next, connection));
    }
}
