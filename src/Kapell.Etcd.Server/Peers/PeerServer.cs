using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using System.Text.Json;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Comparison;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Raft.Encoding;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Peers;

/// <summary>
/// The port for other members: their message streams and checkpoints, what a joining member asks, and what followers pass to the leader.
/// Who comes must name this cluster and this member, and must not have been removed. etcd: etcdhttp/peer.go, rafthttp/http.go
/// </summary>
internal sealed class PeerServer : IAsyncDisposable
{
    private const int PeerUrlsMax = 16;
    private static readonly TimeSpan FullWait = TimeSpan.FromMilliseconds(5);
    private readonly WebApplication _app;
    private readonly ReplicaHost _host;
    private readonly PeerTransport _transport;
    private readonly SnapshotReceiver _snapshots;
    private readonly LeaderCalls _calls;
    private readonly PeerReceiver _receiver;
    private readonly ILogger _logger;

    private PeerServer(WebApplication app, ReplicaHost host, PeerTransport transport, SnapshotReceiver snapshots, LeaderCalls calls, ILogger logger)
    {
        (_app, _host, _transport, _snapshots, _calls, _logger) = (app, host, transport, snapshots, calls, logger);
        _receiver = new PeerReceiver(host, transport, calls);
    }

    /// <exception cref="IOException">A port is taken, or an address cannot be listened on.</exception>
    public static async Task<PeerServer> StartAsync(
        IReadOnlyList<string> listen, bool reusesPorts, TlsSettings? tls, CallerAddresses? callers, ReplicaHost host, PeerTransport transport, SnapshotReceiver snapshots,
        LeaderCalls calls, ILoggerFactory logs, CancellationToken cancellation)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<ILoggerFactory>(new FrameworkLogs(logs));
        builder.Services.AddSingleton(typeof(ILogger<>), typeof(Logger<>));
        builder.Services.AddRouting();
        builder.WebHost.UseKestrelCore();

        // Each hand-over between threads costs more than what is done there: reading, taking and answering are one piece of work.
        // And each of the few connections may hold a block: asking the socket first whether there is something is a system call more a read.
        builder.WebHost.UseSockets(sockets =>
        {
            (sockets.UnsafePreferInlineScheduling, sockets.WaitForDataBeforeAllocatingBuffer) = (true, false);
            ReusedPort.Allow(sockets, reusesPorts);
        });
        SocketBlocks.Use(builder.Services);
        PortSet ports = new("peer", tls, logs.CreateLogger("etcd"), callers);
        ports.Add(listen, PortDuty.All);
        builder.WebHost.ConfigureKestrel(kestrel => Configure(kestrel, ports, host.Time));
        WebApplication app = builder.Build();
        PeerServer server = new(app, host, transport, snapshots, calls, logs.CreateLogger("etcd"));
        server.Map();
        try
        {
            await app.StartAsync(cancellation);
        }
        catch (IOException e) when (e.InnerException is AddressInUseException)
        {
            await app.DisposeAsync();
            throw new IOException(
                $"listen tcp {string.Join(", ", listen)}: bind: address already in use; stop what listens there or choose another --listen-peer-urls", e);
        }
        catch (SocketException e)
        {
            await app.DisposeAsync();
            throw new IOException($"cannot listen on {string.Join(", ", listen)}: {e.Message}", e);
        }

        return server;
    }

    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource soon = new();
        await soon.CancelAsync();
        await _app.StopAsync(soon.Token);
        await _app.DisposeAsync();
    }

    private static void Configure(KestrelServerOptions kestrel, PortSet ports, TimeProvider time)
    {
        kestrel.AddServerHeader = false;
        kestrel.Limits.MaxRequestBodySize = null;
        kestrel.Limits.MinRequestBodyDataRate = null;
        ports.Listen(kestrel, time, static (listen, _) => listen.Protocols = HttpProtocols.Http1);
    }

    private void Map()
    {
        _app.Use(RefuseNonsenseAsync);
        _app.UseRouting();
        _app.MapGet(PeerProtocol.StreamPath + "/{lane}", context => GuardedAsync(context, StreamAsync));
        _app.MapGet(PeerProtocol.ProbePath, static context =>
        {
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            return Task.CompletedTask;
        });
        _app.MapPost(PeerProtocol.SnapshotPath, context => GuardedAsync(context, SnapshotAsync));
        _app.MapPost(PeerProtocol.RenewalsPath, context => GuardedAsync(context, RenewalsAsync));
        _app.MapPost(PeerProtocol.KeepAlivePath, KeepAliveAsync);
        _app.MapPost(PeerProtocol.TimeToLivePath, TimeToLiveAsync);
        _app.MapPost(PeerProtocol.PromotePath + "{id}", PromoteAsync);
        _app.MapPost(PeerProtocol.ComparePath, context => GuardedAsync(context, (c, _) => ComparisonEndpoints.CompareAsync(c, _host)));
        _app.Map(PeerProtocol.HashPath, context => ComparisonEndpoints.HashAsync(context, _host));
        _app.MapGet(PeerProtocol.ViewPath, ViewAsync);
        _app.MapGet(PeerProtocol.MembersPath, MembersAsync);
        _app.MapGet("/version", static context => HealthEndpoints.WriteVersionAsync(context));
    }

    /// <summary>What cannot be read is the caller's fault, and no reason to complain here.</summary>
    private static async Task RefuseNonsenseAsync(HttpContext context, RequestDelegate next)
    {
        try
        {
            await next(context);
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or Microsoft.AspNetCore.Http.BadHttpRequestException && !context.Response.HasStarted)
        {
            await RefuseAsync(context, 400, e.Message);
        }
        catch (Exception e) when (e is ConnectionResetException || (e is OperationCanceledException or IOException && context.RequestAborted.IsCancellationRequested))
        {
            // The caller has gone.
        }
    }

    /// <summary>Only a member of this cluster that means this member gets in.</summary>
    private async Task GuardedAsync(HttpContext context, Func<HttpContext, MemberId, Task> serve)
    {
        IHeaderDictionary headers = context.Request.Headers;
        bool named = PeerProtocol.TryHex(headers[PeerProtocol.FromHeader], out ulong from) & PeerProtocol.TryHex(headers[PeerProtocol.ToHeader], out ulong to)
            & PeerProtocol.TryHex(headers[PeerProtocol.ClusterHeader], out ulong cluster);
        PeerContext self = _transport.Context;
        (int code, string? reason) = !named ? (400, "this path is for members of the cluster")
            : cluster != self.ClusterId ? (412, $"cluster ID mismatch: this member is of cluster {PeerProtocol.Hex(self.ClusterId)}, the request of {PeerProtocol.Hex(cluster)}")
            : to != self.Self ? (412, $"this is member {PeerProtocol.Hex(self.Self)}, not {PeerProtocol.Hex(to)}")
            : _transport.Removed.Contains(from) ? (410, "the member has been permanently removed from the cluster")
            : (200, null);
        if (reason is null)
        {
            string[] urls = headers[PeerProtocol.UrlsHeader].ToString().Split(',', StringSplitOptions.RemoveEmptyEntries);
            _transport.Called(new MemberId(from), [.. urls.Where(static u => Uri.TryCreate(u, UriKind.Absolute, out _)).Take(PeerUrlsMax)]);
            await serve(context, new MemberId(from));
            return;
        }

        Log.PeerRefused(_logger, headers[PeerProtocol.FromHeader].ToString(), context.Request.Path, reason);
        await RefuseAsync(context, code, reason);
    }

    private async Task StreamAsync(HttpContext context, MemberId from)
    {
        IHttpUpgradeFeature? upgrade = context.Features.Get<IHttpUpgradeFeature>();
        if (upgrade is not { IsUpgradableRequest: true } || context.Request.Headers.Upgrade != PeerProtocol.UpgradeName)
        {
            await RefuseAsync(context, 426, $"upgrade to {PeerProtocol.UpgradeName}");
            return;
        }

        context.Response.Headers.Upgrade = PeerProtocol.UpgradeName;
        context.Response.Headers[PeerProtocol.TakesHeader] = PeerProtocol.TakesRenewals;
        await using Stream stream = await upgrade.UpgradeAsync();

        // What the stream would read from, with a copy and three more state machines for each read.
        PeerCounts? counts = _transport.CountsOf(from);
        PipeReader reader = context.Features.GetRequiredFeature<IConnectionTransportFeature>().Transport.Input;
        try
        {
            while (true)
            {
                ReadResult read = await reader.ReadAsync(context.RequestAborted);
                ReadOnlySequence<byte> buffer = read.Buffer;
                long there = buffer.Length;
                while (!_receiver.TakeAll(ref buffer, from))
                {
                    await Task.Delay(FullWait, _host.Time, context.RequestAborted);
                }

                counts?.Received(there - buffer.Length);
                reader.AdvanceTo(buffer.Start, buffer.End);
                if (read.IsCompleted)
                {
                    return;
                }
            }
        }
        catch (Exception e) when (e is InvalidDataException or IOException or OperationCanceledException or ConnectionAbortedException)
        {
            if (e is InvalidDataException)
            {
                counts?.ReceiveFailed();
                Log.PeerRefused(_logger, PeerProtocol.Hex(from.Value), context.Request.Path, e.Message);
            }

            context.Abort();
        }
        finally
        {
            await reader.CompleteAsync();
        }
    }

    private async Task SnapshotAsync(HttpContext context, MemberId from)
    {
        try
        {
            byte[] encoded = Convert.FromBase64String(context.Request.Headers["X-Kapell-Message"].ToString());
            if (!RaftCodec.TryDecode(encoded, out Message? message) || message is not InstallSnapshot install || install.From != from)
            {
                await RefuseAsync(context, 400, "no message of a checkpoint");
                return;
            }

            (CheckpointHead head, MvccStore store, InstallSnapshot taken) = await TakeSnapshotAsync(install, context);
            _host.Received(taken, head, store);
            context.Response.StatusCode = StatusCodes.Status204NoContent;
        }
        catch (Exception e) when (e is FormatException or InvalidDataException or IOException)
        {
            Log.PeerRefused(_logger, PeerProtocol.Hex(from.Value), context.Request.Path, e.Message);
            await RefuseAsync(context, 500, e.Message);
        }
    }

    private async Task<(CheckpointHead Head, MvccStore Store, InstallSnapshot Message)> TakeSnapshotAsync(InstallSnapshot install, HttpContext context)
    {
        SnapshotCounts? counts = _transport.CountsOf(install.From)?.ReceivedSnapshots;
        long began = _host.Time.GetTimestamp();
        bool whole = false;
        counts?.Begun();
        try
        {
            (CheckpointHead, MvccStore, InstallSnapshot) taken = await _snapshots.TakeAsync(install, context.Request.Body, context.RequestAborted);
            whole = true;
            return taken;
        }
        finally
        {
            counts?.Ended(_host.Time.GetElapsedTime(began), whole);
        }
    }

    private async Task RenewalsAsync(HttpContext context, MemberId from)
    {
        LeasesRenewal request = LeasesRenewal.Parser.ParseFrom(await BodyAsync(context, ForwardedRenewals.BytesMax));
        await AnswerAsync(context, () => _calls.RenewHereAsync(request, context.RequestAborted));
    }

    private async Task KeepAliveAsync(HttpContext context)
    {
        LeaseKeepAliveRequest request = LeaseKeepAliveRequest.Parser.ParseFrom(await BodyAsync(context));
        await AnswerAsync(context, async () => await _calls.RenewHereAsync(request.ID, context.RequestAborted));
    }

    private async Task TimeToLiveAsync(HttpContext context)
    {
        LeaseTimeToLiveRequest request = LeaseTimeToLiveRequest.Parser.ParseFrom(await BodyAsync(context));
        await AnswerAsync(context, async () => await _calls.TimesHereAsync(request, context.RequestAborted));
    }

    private async Task PromoteAsync(HttpContext context)
    {
        if (!PeerProtocol.TryHex(context.Request.RouteValues["id"]?.ToString(), out ulong id))
        {
            await RefuseAsync(context, 400, "the path ends in no member");
            return;
        }

        await AnswerAsync(context, async () => await _calls.PromoteHereAsync(id, context.RequestAborted));
    }

    // What the leader refuses travels as the refusal's own text, by which the follower knows it.
    private static async Task AnswerAsync<T>(HttpContext context, Func<Task<(EtcdError? Error, T? Reply)>> work)
        where T : class, IMessage
    {
        (EtcdError? error, T? reply) = await work();
        if (error is not null)
        {
            await RefuseAsync(context, 409, error.Text);
            return;
        }

        context.Response.ContentType = "application/protobuf";
        await context.Response.Body.WriteAsync(reply!.ToByteArray(), context.RequestAborted);
    }

    private Task ViewAsync(HttpContext context)
    {
        ClusterView view = _host.Reading(() =>
        {
            ClusterView all = new() { ClusterId = _host.Replica.ClusterId };
            all.Members.AddRange(_host.Replica.Applier.Members.All);
            all.RemovedMembers.AddRange(_host.Replica.Applier.Members.Removed);
            return all;
        });
        context.Response.ContentType = "application/protobuf";
        return context.Response.Body.WriteAsync(view.ToByteArray(), context.RequestAborted).AsTask();
    }

    // etcd: etcdhttp/peer.go: what `etcdctl` of old and operators' scripts read.
    private async Task MembersAsync(HttpContext context)
    {
        (ulong cluster, Member[] members) = _host.Reading(() => (_host.Replica.ClusterId, _host.Replica.Applier.Members.All.ToArray()));
        context.Response.ContentType = "application/json";
        context.Response.Headers[PeerProtocol.ClusterHeader] = PeerProtocol.Hex(cluster);
        await using Utf8JsonWriter json = new(context.Response.BodyWriter);
        json.WriteStartArray();
        foreach (Member member in members)
        {
            json.WriteStartObject();
            json.WriteNumber("id", member.ID);
            WriteList(json, "peerURLs", member.PeerURLs);
            if (member.IsLearner)
            {
                json.WriteBoolean("isLearner", true);
            }

            json.WriteString("name", member.Name);
            WriteList(json, "clientURLs", member.ClientURLs);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteList(Utf8JsonWriter json, string name, IEnumerable<string> items)
    {
        json.WriteStartArray(name);
        foreach (string item in items)
        {
            json.WriteStringValue(item);
        }

        json.WriteEndArray();
    }

    private static async Task<byte[]> BodyAsync(HttpContext context, int bytesMax = 4096)
    {
        byte[] buffer = new byte[Math.Min(bytesMax, context.Request.ContentLength ?? bytesMax)];
        int read = await context.Request.Body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, context.RequestAborted);
        return buffer[..read];
    }

    private static Task RefuseAsync(HttpContext context, int code, string reason)
    {
        context.Response.StatusCode = code;
        context.Response.ContentType = "text/plain; charset=utf-8";
        return context.Response.WriteAsync(reason, context.RequestAborted);
    }
}
