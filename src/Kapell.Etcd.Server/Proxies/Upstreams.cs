using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>
/// The members behind a proxy: each call goes to the next one that is believed to be well; the list can follow the cluster's membership.
/// etcd: client/v3/client.go (balancer, Sync)
/// </summary>
internal sealed class Upstreams : IAsyncDisposable
{
    private static readonly TimeSpan BadFor = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan SyncTimeout = TimeSpan.FromSeconds(5);

    // Of a member that serves this and refuses that not every turn is worth a line.
    private static readonly TimeSpan SayPause = TimeSpan.FromSeconds(10);
    private readonly GrpcProxyOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly SocketsHttpHandler _handler;
    private readonly SocketsHttpHandler _pages;
    private readonly Lock _gate = new();
    private IReadOnlyList<Upstream> _all;
    private int _turn;

    /// <exception cref="FlagException">A certificate cannot be read, or names somebody.</exception>
    public Upstreams(GrpcProxyOptions options, IEnumerable<string> endpoints, TimeProvider time, ILogger logger)
    {
        (_options, _time, _logger) = (options, time, logger);
        _handler = HandlerOf(options.Upstream, refuseNames: true);
        _pages = HandlerOf(options.Upstream, refuseNames: true);
        _handler.KeepAlivePingDelay = options.KeepAliveTime > TimeSpan.Zero ? options.KeepAliveTime : Timeout.InfiniteTimeSpan;
        _handler.KeepAlivePingTimeout = options.KeepAliveTimeout > TimeSpan.Zero ? options.KeepAliveTimeout : Timeout.InfiniteTimeSpan;
        _handler.KeepAlivePingPolicy = options.PingsWhenIdle ? HttpKeepAlivePingPolicy.Always : HttpKeepAlivePingPolicy.WithActiveRequests;
        _all = [.. endpoints.Distinct().Select(Open)];
    }

    public IReadOnlyList<string> Endpoints => [.. _all.Select(static u => u.Address)];

    /// <summary>For requests of plain HTTP to a member; not that of the channels, which put what they know of an endpoint into its requests.</summary>
    public HttpMessageHandler Handler => _pages;

    /// <summary>Each once, the best first.</summary>
    public IReadOnlyList<Upstream> InOrder()
    {
        lock (_gate)
        {
            int first = (int)((uint)_turn++ % (uint)Math.Max(1, _all.Count));
            long now = _time.GetTimestamp();
            return [.. Enumerable.Range(0, _all.Count).Select(i => _all[(first + i) % _all.Count]).OrderBy(u => u.BadUntil > now)];
        }
    }

    /// <summary>It did not answer, or said that it does not serve: others are preferred for a while.</summary>
    public void Suspect(Upstream upstream, string reason)
    {
        long now = _time.GetTimestamp();
        upstream.BadUntil = now + (long)(BadFor.TotalSeconds * _time.TimestampFrequency);
        if ((upstream.SaidAt is not { } said || _time.GetElapsedTime(said, now) > SayPause) && upstream.Becomes(isLost: true))
        {
            upstream.SaidAt = now;
            Log.EndpointLost(_logger, upstream.Address, reason);
        }
    }

    /// <summary>It has answered.</summary>
    public void Heard(Upstream upstream)
    {
        if (upstream.Becomes(isLost: false))
        {
            Log.EndpointFound(_logger, upstream.Address);
        }
    }

    /// <summary>Keeps the list in step with the members' client addresses.</summary>
    public async Task FollowAsync(CancellationToken stopping)
    {
        try
        {
            while (_options.SyncInterval > TimeSpan.Zero)
            {
                await Task.Delay(_options.SyncInterval, _time, stopping);
                await SyncAsync(stopping);
            }
        }
        catch (OperationCanceledException)
        {
            // Stopped.
        }
    }

    public ValueTask DisposeAsync()
    {
        foreach (Upstream upstream in _all)
        {
            upstream.Channel.Dispose();
        }

        _handler.Dispose();
        _pages.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task SyncAsync(CancellationToken stopping)
    {
        foreach (Upstream upstream in InOrder())
        {
            try
            {
                Cluster.ClusterClient client = new(upstream.Channel);
                MemberListResponse members = await client.MemberListAsync(
                    new MemberListRequest { Linearizable = true }, deadline: (_time.GetUtcNow() + SyncTimeout).UtcDateTime, cancellationToken: stopping);
                Heard(upstream);
                Take([.. members.Members.Where(static m => m.Name.Length > 0 && !m.IsLearner).SelectMany(static m => m.ClientURLs).Distinct()]);
                return;
            }
            catch (RpcException e) when (!stopping.IsCancellationRequested)
            {
                Suspect(upstream, e.Status.Detail);
                Log.EndpointSyncFailed(_logger, upstream.Address, e.Status.Detail);
            }
        }
    }

    private void Take(IReadOnlyList<string> addresses)
    {
        if (addresses.Count == 0)
        {
            return;
        }

        Upstream[] gone;
        lock (_gate)
        {
            Dictionary<string, Upstream> known = _all.ToDictionary(static u => u.Address);
            string[] wanted = [.. addresses.Select(WithScheme).Where(IsAddress)];
            if (wanted.Length == 0)
            {
                return;
            }

            if (known.Keys.ToHashSet().SetEquals(wanted))
            {
                return;
            }

            gone = [.. _all.Where(u => !wanted.Contains(u.Address))];
            _all = [.. wanted.Distinct().Select(a => known.GetValueOrDefault(a) ?? Open(a))];
        }

        Log.EndpointsSynced(_logger, string.Join(", ", Endpoints));
        foreach (Upstream upstream in gone)
        {
            // Its calls break off as those of a member that does not answer, and the clients make them anew.
            upstream.Channel.Dispose();
        }
    }

    private string WithScheme(string endpoint) =>
        endpoint.Contains("://", StringComparison.Ordinal) ? endpoint : (_options.Upstream.Wanted ? "https://" : "http://") + endpoint;

    // A member may also listen where only its own machine reaches it (unix://).
    private static bool IsAddress(string address) => Uri.TryCreate(address, UriKind.Absolute, out Uri? uri) && uri.Scheme is "http" or "https";

    private Upstream Open(string endpoint)
    {
        string address = WithScheme(endpoint);
        if (!IsAddress(address))
        {
            throw new FlagException($"\"{endpoint}\" is no endpoint");
        }

        Uri uri = new(address);

        // The message's size is the member's to judge, but a proxy must not be filled up by one.
        return new Upstream(address, GrpcChannel.ForAddress(uri, new GrpcChannelOptions
        {
            HttpHandler = _handler,
            DisposeHttpClient = false,
            MaxReceiveMessageSize = _options.ReceiveBytesMax,
            MaxSendMessageSize = _options.SendBytesMax + Rpc.EtcdLimits.FrameBytes,
            Credentials = uri.Scheme == "https" ? ChannelCredentials.SecureSsl : ChannelCredentials.Insecure,
        }));
    }

    /// <summary>Connections to members of a cluster.</summary>
    /// <param name="tls">Files for them.</param>
    /// <param name="refuseNames">The own certificate must name nobody.</param>
    /// <exception cref="FlagException">A certificate cannot be read, or names somebody.</exception>
    internal static SocketsHttpHandler HandlerOf(UpstreamTls tls, bool refuseNames)
    {
        SocketsHttpHandler handler = new() { UseProxy = false, EnableMultipleHttp2Connections = true, ConnectTimeout = TimeSpan.FromSeconds(5) };
        if (tls.CertFile.Length > 0 != (tls.KeyFile.Length > 0))
        {
            throw new FlagException($"KeyFile and CertFile must both be present[key: {tls.KeyFile}, cert: {tls.CertFile}]");
        }

        try
        {
            if (tls.CertFile.Length > 0)
            {
                SslStreamCertificateContext own = CertificateFile.Load(tls.CertFile, tls.KeyFile);

                // etcd: with a name in it all clients of the proxy would be that user.
                if (refuseNames && CertificateSubject.Of(own.TargetCertificate).CommonName is { Length: > 0 } name)
                {
                    throw new FlagException($"cert has non empty Common Name ({name}): {tls.CertFile}");
                }

                handler.SslOptions.ClientCertificateContext = own;
            }

            if (tls.CaFile.Length > 0)
            {
                X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
                policy.CustomTrustStore.ImportFromPemFile(tls.CaFile);
                handler.SslOptions.CertificateChainPolicy = policy;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new FlagException($"cannot read the certificates for the members: {e.Message}");
        }

        if (tls.SkipVerify)
        {
            handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, errors) => errors is SslPolicyErrors.None or not SslPolicyErrors.RemoteCertificateNotAvailable;
        }

        return handler;
    }
}

/// <summary>One member.</summary>
internal sealed class Upstream(string address, GrpcChannel channel)
{
    private long _badUntil;
    private int _isLost; // As the log has said it.

    /// <summary>A URL.</summary>
    public string Address => address;

    public GrpcChannel Channel => channel;

    /// <summary>A time stamp until which others are preferred.</summary>
    public long BadUntil
    {
        get => Interlocked.Read(ref _badUntil);
        set => Interlocked.Exchange(ref _badUntil, value);
    }

    /// <summary>When the log last said that it does not serve, a time stamp; null: never.</summary>
    public long? SaidAt { get; set; }

    /// <summary>Takes down that the log says so now; false when it has.</summary>
    public bool Becomes(bool isLost)
    {
        int state = isLost ? 1 : 0;
        return Volatile.Read(ref _isLost) != state && Interlocked.Exchange(ref _isLost, state) != state;
    }
}
