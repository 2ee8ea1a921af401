using System.Net;
using Kapell.ApiServer.Discovery;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.OpenApi;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.Storage;
using Kapell.ApiServer.Verbs;
using Kapell.ApiServer.WatchCache;
using Kapell.Base;
using Kapell.Etcd.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Kapell.ApiServer;

/// <summary>Puts one API server together and runs it.</summary>
public sealed class ApiServerHost : IAsyncDisposable
{
    private static readonly TimeSpan HookPause = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan DrainMax = TimeSpan.FromSeconds(10);
    private readonly ServerOptions _options;
    private readonly TimeProvider _time;
    private readonly ILoggerFactory _logs;
    private readonly ILogger _log;
    private readonly IEtcdClient _etcd;
    private readonly StoreMirror _mirror;
    private readonly Compactor _compactor;
    private readonly ServerParts _parts;
    private readonly Bootstrap _bootstrap;
    private readonly ApiPipeline _pipeline;
    private readonly HashSet<string> _pendingHooks = [];
    private volatile bool _stopping;

    public ApiServerHost(ServerOptions options, IEtcdClient etcd, TimeProvider time, ulong seed, ILoggerFactory logs)
    {
        _options = options;
        _time = time;
        _logs = logs;
        _log = logs.CreateLogger("Kapell.ApiServer");
        _etcd = etcd;
        MetricsRegistry metrics = new();
        ResourceSet resources = new(BuiltinResources.All);
        EtcdStorage storage = new(etcd, options.EtcdPrefix, new LeaseManager(etcd, time), options.EventTtl, new StorageMetrics(metrics, time));
        _mirror = new StoreMirror(storage, resources, time, _log);
        _compactor = new Compactor(etcd, options.EtcdCompactionInterval, time, _log);
        Prng random = new(seed);
        ServerContext context = new()
        {
            Options = options, Store = new ObjectStore(storage, _mirror, time), Resources = resources, Time = time, Seed = random.NextUInt64(), Logs = logs,
        };
        _parts = ServerComposition.Compose(context);
        _bootstrap = new Bootstrap(context);
        AdmissionChain admission = new(_parts.Admission);
        Lock draws = new();
        int Below(int max)
        {
            lock (draws)
            {
                return random.NextInt(0, max);
            }
        }

        double Share()
        {
            lock (draws)
            {
                return random.NextDouble();
            }
        }

        Decoder decoder = new(BuiltinSchemas.Set);
        ListReader lists = new(storage, _mirror);
        ResourceHandler handler = new(
            new GenericRegistry(admission, storage, _mirror, new FieldOwnership(BuiltinSchemas.Set), Below), new Deletion(admission, storage), storage,
            _mirror, lists, new WatchStream(storage, _mirror, lists, time), decoder, new PatchEngine(decoder), options, time, Share);
        HealthCheck ping = new("ping", _ => Task.FromResult<string?>(null));
        HealthCheck store = new("etcd", StoreHealthAsync);
        HealthCheck sync = new("informer-sync", _ => Task.FromResult(_mirror.IsReady ? null : "the caches are not filled yet"));
        HealthCheck hooks = new("poststarthooks", _ => Task.FromResult(HooksPending()));
        HealthCheck shutdown = new("shutdown", _ => Task.FromResult(_stopping ? "process is shutting down" : null));
        HealthEndpoints health = new([ping, store], [ping, store, sync, hooks, shutdown], metrics, BuildInfo.Kapell);
        _pipeline = new ApiPipeline(
            _parts, resources, handler, new DiscoveryDocuments(resources, _parts.Subresources), health, new InflightLimits(options),
            new RequestMetrics(metrics), options, time, _log);
    }

    /// <summary>Serves until stopped. <paramref name="ready"/> is called once the address is taken.</summary>
    /// <exception cref="IOException">The address is taken already.</exception>
    public async Task RunAsync(Action ready, CancellationToken stopping)
    {
        using CancellationTokenSource background = new();
        foreach ((string name, _) in _parts.PostStartHooks)
        {
            _pendingHooks.Add(name);
        }

        _pendingHooks.Add("bootstrap-controller");
        await using WebApplication app = BuildWeb(background.Token);
        await app.StartAsync(CancellationToken.None);
        List<Task> tasks =
        [
            KeepRunningAsync("store-mirror", _mirror.RunAsync, background.Token),
            StartHooksAsync(background.Token),
        ];
        if (_options.EtcdCompactionInterval > TimeSpan.Zero)
        {
            tasks.Add(KeepRunningAsync("compactor", _compactor.RunAsync, background.Token));
        }

        tasks.AddRange(_parts.Background.Select(b => KeepRunningAsync(b.Name, b.Run, background.Token)));
        HttpLog.Serving(_log, $"https://{_options.BindAddress}:{_options.SecurePort}", null);
        ready();
        await WaitForAsync(stopping);
        _stopping = true;
        // Watches end with this; short requests get their time.
        await background.CancelAsync();
        using (CancellationTokenSource drain = new(DrainMax, _time))
        {
            await app.StopAsync(drain.Token);
        }

        await Task.WhenAll(tasks);
    }

    public async ValueTask DisposeAsync() => await _etcd.DisposeAsync();

    private WebApplication BuildWeb(CancellationToken stopping)
    {
        ServingTls tls = new(_options, _time);
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddLogging();
        builder.Services.AddSingleton<ILoggerFactory>(new QuietLogs(_logs));
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Limits.MinRequestBodyDataRate = null;
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Limits.MaxRequestHeadersTotalSize = 128 * 1024;
            kestrel.Limits.MaxRequestLineSize = 32 * 1024;
            kestrel.Limits.Http2.MaxStreamsPerConnection = 1000;
            kestrel.Limits.Http2.InitialConnectionWindowSize = 1 << 20;
            kestrel.Limits.Http2.InitialStreamWindowSize = 256 * 1024;
            kestrel.AllowSynchronousIO = false;
            kestrel.Listen(IPAddress.Parse(_options.BindAddress), _options.SecurePort, listen =>
            {
                listen.Protocols = HttpProtocols.Http1AndHttp2;
                listen.UseHttps(tls.Configure);
            });
        });
        WebApplication app = builder.Build();
        app.Run(context => _pipeline.HandleAsync(context, stopping));
        return app;
    }

    private async Task StartHooksAsync(CancellationToken stopping)
    {
        try
        {
            await _mirror.WaitForAsync(1, Timeout.InfiniteTimeSpan, stopping);
            await RunHookAsync("bootstrap-controller", _bootstrap.EnsureAsync, stopping);
            foreach ((string name, Func<CancellationToken, Task> run) in _parts.PostStartHooks)
            {
                await RunHookAsync(name, run, stopping);
            }

            await _bootstrap.KeepAsync(stopping);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            return;
        }
    }

    private async Task RunHookAsync(string name, Func<CancellationToken, Task> run, CancellationToken stopping)
    {
        while (true)
        {
            try
            {
                await run(stopping);
                break;
            }
            catch (Exception e) when (e is not OperationCanceledException || !stopping.IsCancellationRequested)
            {
                HttpLog.HookFailed(_log, name, e.Message, null);
                await Task.Delay(HookPause, _time, stopping);
            }
        }

        lock (_pendingHooks)
        {
            _pendingHooks.Remove(name);
        }
    }

    private async Task KeepRunningAsync(string name, Func<CancellationToken, Task> run, CancellationToken stopping)
    {
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                await run(stopping);
                return;
            }
            catch (OperationCanceledException) when (stopping.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is not InvariantBrokenException)
            {
                HttpLog.BackgroundFailed(_log, name, e);
                await Task.Delay(HookPause, _time, CancellationToken.None);
            }
        }
    }

    private string? HooksPending()
    {
        lock (_pendingHooks)
        {
            return _pendingHooks.Count == 0 ? null : "not finished: " + string.Join(", ", _pendingHooks);
        }
    }

    private async Task<string?> StoreHealthAsync(CancellationToken cancel)
    {
        using CancellationTokenSource timeout = new(TimeSpan.FromSeconds(2), _time);
        using CancellationTokenSource both = CancellationTokenSource.CreateLinkedTokenSource(cancel, timeout.Token);
        try
        {
            await _etcd.RangeAsync(new EtcdRange("/registry/health"u8.ToArray()), both.Token);
            return null;
        }
        catch (Exception e) when (e is EtcdException || (e is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            return "etcd failed: " + e.Message;
        }
    }

    private static async Task WaitForAsync(CancellationToken stopping)
    {
        TaskCompletionSource stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration registration = stopping.Register(stopped.SetResult);
        await stopped.Task;
    }
}
