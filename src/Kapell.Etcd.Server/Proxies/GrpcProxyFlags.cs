using Kapell.Base;
using Kapell.Etcd.Server.Http;
using Kapell.Etcd.Server.Http2;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>The flags of <c>etcd grpc-proxy start</c>. etcd: etcdmain/grpc_proxy.go</summary>
internal sealed class GrpcProxyFlags
{
    private const string NoKeepAlive = "Taken without effect: clients may ping as often as they like.";
    private readonly FlagSet _flags = new("etcd grpc-proxy start", "start the grpc proxy");
    private readonly FlagValue<string> _listen;
    private readonly FlagValue<string> _metrics;
    private readonly FlagValue<IReadOnlyList<string>> _endpoints;
    private readonly FlagValue<TimeSpan> _sync;
    private readonly FlagValue<TimeSpan> _keepAliveTime;
    private readonly KeepAliveFlags _keepAlive;
    private readonly FlagValue<TimeSpan> _keepAliveTimeout;
    private readonly FlagValue<bool> _idlePings;
    private readonly FlagValue<string> _domain;
    private readonly FlagValue<string> _service;
    private readonly FlagValue<bool> _insecureDiscovery;
    private readonly FlagValue<string> _dataDir;
    private readonly FlagValue<int> _sendMax;
    private readonly FlagValue<int> _receiveMax;
    private readonly FlagValue<string> _cert;
    private readonly FlagValue<string> _key;
    private readonly FlagValue<string> _ca;
    private readonly FlagValue<bool> _skipVerify;
    private readonly FlagValue<string> _ownCert;
    private readonly FlagValue<string> _ownKey;
    private readonly FlagValue<string> _ownCa;
    private readonly FlagValue<IReadOnlyList<string>> _ciphers;
    private readonly FlagValue<bool> _autoTls;
    private readonly FlagValue<string> _crl;
    private readonly FlagValue<int> _years;
    private readonly FlagValue<string> _tlsMin;
    private readonly FlagValue<string> _tlsMax;
    private readonly FlagValue<string> _advertise;
    private readonly FlagValue<string> _resolverPrefix;
    private readonly FlagValue<int> _resolverTtl;
    private readonly FlagValue<string> _namespace;
    private readonly FlagValue<string> _leasing;
    private readonly FlagValue<bool> _ordering;
    private readonly FlagValue<bool> _debug;
    private readonly FlagValue<long> _streams;

    public GrpcProxyFlags()
    {
        _listen = _flags.String("listen-addr", "127.0.0.1:23790", "listen address");
        _domain = _flags.String("discovery-srv", "", "domain name to query for SRV records describing cluster endpoints");
        _service = _flags.String("discovery-srv-name", "", "service name to query when using DNS discovery");
        _metrics = _flags.String("metrics-addr", "", "listen for endpoint /metrics requests on an additional interface");
        _insecureDiscovery = _flags.Bool("insecure-discovery", false, "accept insecure SRV records");
        _endpoints = _flags.List("endpoints", ["127.0.0.1:2379"], "comma separated etcd cluster endpoints");
        _sync = _flags.Duration("endpoints-auto-sync-interval", TimeSpan.Zero, "etcd endpoints auto sync interval (disabled by default)");
        _keepAliveTime = _flags.Duration("dial-keepalive-time", TimeSpan.Zero, "keepalive time for client(grpc-proxy) connections (default 0, disable).");
        _keepAliveTimeout = _flags.Duration("dial-keepalive-timeout", TimeSpan.FromSeconds(20), "keepalive timeout for client(grpc-proxy) connections (default 20s).");
        _idlePings = _flags.Bool("permit-without-stream", false, "Enable client(grpc-proxy) to send keepalive pings even with no active RPCs.");
        _advertise = _flags.String("advertise-client-url", "127.0.0.1:23790", "advertise address to register (must be reachable by client)");
        _resolverPrefix = _flags.String("resolver-prefix", "", "prefix to use for registering proxy (must be shared with other grpc-proxy members)");
        _resolverTtl = _flags.Int("resolver-ttl", 0, "specify TTL, in seconds, when registering proxy endpoints");
        _namespace = _flags.String("namespace", "", "string to prefix to all keys for namespacing requests");
        _flags.Bool("enable-pprof", false, "Taken without effect: there is no Go runtime to profile.");
        _dataDir = _flags.String("data-dir", "default.proxy", "Data directory for persistent data");
        _sendMax = _flags.Int("max-send-bytes", 1536 * 1024, "message send limits in bytes (default value is 1.5 MiB)");
        _receiveMax = _flags.Int("max-recv-bytes", int.MaxValue, "message receive limits in bytes (default value is math.MaxInt32)");
        _flags.Duration("grpc-keepalive-min-time", TimeSpan.FromSeconds(5), NoKeepAlive);
        _keepAlive = new KeepAliveFlags(_flags);
        _cert = _flags.String("cert", "", "identify secure connections with etcd servers using this TLS certificate file");
        _key = _flags.String("key", "", "identify secure connections with etcd servers using this TLS key file");
        _ca = _flags.String("cacert", "", "verify certificates of TLS-enabled secure etcd servers using this CA bundle");
        _skipVerify = _flags.Bool("insecure-skip-tls-verify", false, "skip authentication of etcd server TLS certificates (CAUTION: this option should be enabled only for testing purposes)");
        _ownCert = _flags.String("cert-file", "", "identify secure connections to the proxy using this TLS certificate file");
        _ownKey = _flags.String("key-file", "", "identify secure connections to the proxy using this TLS key file");
        _ownCa = _flags.String("trusted-ca-file", "", "verify certificates of TLS-enabled secure proxy using this CA bundle");
        _ciphers = _flags.List("listen-cipher-suites", [], "Comma-separated list of supported TLS cipher suites between client/proxy.");
        _autoTls = _flags.Bool("auto-tls", false, "proxy TLS using generated certificates");
        _crl = _flags.String("client-crl-file", "", "proxy client certificate revocation list file.");
        _years = _flags.Int("self-signed-cert-validity", 1, "The validity period of the proxy certificates, unit is year");
        _tlsMin = _flags.String("tls-min-version", "TLS1.2", "Minimum TLS version supported by grpc proxy. Possible values: TLS1.2, TLS1.3.");
        _tlsMax = _flags.String("tls-max-version", "", "Maximum TLS version supported by grpc proxy. Possible values: TLS1.2, TLS1.3.");
        _ordering = _flags.Bool("experimental-serializable-ordering", false, "Ensure serializable reads have monotonically increasing store revisions across endpoints.");
        _leasing = _flags.String("experimental-leasing-prefix", "", "leasing metadata prefix for disconnected linearized reads.");
        _flags.Bool("experimental-enable-grpc-logging", false, "Taken without effect: calls are counted, see /proxy/metrics.");
        _debug = _flags.Bool("debug", false, "Enable debug-level logging for grpc-proxy.");
        _streams = _flags.Long("max-concurrent-streams", uint.MaxValue, "Maximum concurrent streams that each client can open at a time.");
    }

    public bool HelpWanted => _flags.HelpWanted;

    public string Help() => _flags.Help();

    /// <exception cref="FlagException">The line is wrong; the message says how.</exception>
    public GrpcProxyOptions Parse(IReadOnlyList<string> args)
    {
        _flags.Parse(args);
        Check();
        TlsRules rules = TlsRules.Parse(_tlsMin.Value, _tlsMax.Value, _ciphers.Value);
        return new GrpcProxyOptions
        {
            ListenAddress = _listen.Value,
            MetricsUrl = _metrics.Value,
            Endpoints = _endpoints.Value,
            SyncInterval = _sync.Value,
            KeepAliveTime = _keepAliveTime.Value,
            KeepAliveTimeout = _keepAliveTimeout.Value,
            PingsWhenIdle = _idlePings.Value,
            Domain = _domain.Value,
            ServiceName = _service.Value,
            InsecureDiscovery = _insecureDiscovery.Value,
            DataDirectory = _dataDir.Value,
            SendBytesMax = _sendMax.Value,
            ReceiveBytesMax = _receiveMax.Value,
            Upstream = new UpstreamTls(_cert.Value, _key.Value, _ca.Value, _skipVerify.Value),
            Tls = new ServerTls(_ownCert.Value, _ownKey.Value, false, _ownCa.Value) { CrlFile = _crl.Value, Rules = rules },
            AutoTls = _autoTls.Value && _ownCert.Value.Length == 0,
            SelfSignedYears = _years.Value,
            AdvertiseUrl = _advertise.Value,
            ResolverPrefix = _resolverPrefix.Value,
            ResolverTtl = _resolverTtl.Value,
            Namespace = _namespace.Value,
            OrdersReads = _ordering.Value,
            LeasingPrefix = _leasing.Value,
            Debug = _debug.Value,
            ConcurrentStreamsMax = (int)Math.Clamp(_streams.Value, 1, int.MaxValue),
            KeepAlive = _keepAlive.Policy,
        };
    }

    private void Check()
    {
        string? wrong = _flags.HelpWanted ? null
            : _flags.Arguments is not ["start"] ? "the subcommand is start"
            : _resolverPrefix.Value.Length > 0 && _resolverTtl.Value < 1 ? $"invalid resolver-ttl {_resolverTtl.Value}"
            : _resolverPrefix.Value.Length == 0 && _resolverTtl.Value > 0 ? "invalid resolver-prefix \"\""
            : _resolverPrefix.Value.Length > 0 && _advertise.Value.Length == 0 ? "invalid advertise-client-url \"\""
            : _autoTls.Value && _years.Value < 1 ? "selfSignedCertValidity is invalid,it should be greater than 0"
            : null;
        if (wrong is not null)
        {
            throw new FlagException(wrong);
        }
    }
}

/// <summary>What the proxy was told.</summary>
internal sealed record GrpcProxyOptions
{
    public required string ListenAddress { get; init; }

    /// <summary>A URL for /metrics and /health; empty for none of its own.</summary>
    public required string MetricsUrl { get; init; }

    public required IReadOnlyList<string> Endpoints { get; init; }

    /// <summary>Reads never go back in time.</summary>
    public bool OrdersReads { get; init; }

    /// <summary>Before the keys that say which are read in the proxy; empty: none is.</summary>
    public string LeasingPrefix { get; init; } = "";

    /// <summary>Zero: the endpoints stay as given.</summary>
    public required TimeSpan SyncInterval { get; init; }

    /// <summary>Zero: no pings.</summary>
    public required TimeSpan KeepAliveTime { get; init; }

    public required TimeSpan KeepAliveTimeout { get; init; }

    public required bool PingsWhenIdle { get; init; }

    /// <summary>To look for endpoints in; empty: they are given.</summary>
    public required string Domain { get; init; }

    public required string ServiceName { get; init; }

    public required bool InsecureDiscovery { get; init; }

    public required string DataDirectory { get; init; }

    public required int SendBytesMax { get; init; }

    public required int ReceiveBytesMax { get; init; }

    public required UpstreamTls Upstream { get; init; }

    public required ServerTls Tls { get; init; }

    public required bool AutoTls { get; init; }

    public required int SelfSignedYears { get; init; }

    /// <summary>Shown as the only member's address; empty: the cluster's members are shown.</summary>
    public required string AdvertiseUrl { get; init; }

    public required string ResolverPrefix { get; init; }

    /// <summary>Seconds.</summary>
    public required int ResolverTtl { get; init; }

    /// <summary>Before every key; empty for none.</summary>
    public required string Namespace { get; init; }

    public required bool Debug { get; init; }

    public required int ConcurrentStreamsMax { get; init; }

    /// <summary>Null: a client that says nothing is never asked whether it is there.</summary>
    public required KeepAlivePolicy? KeepAlive { get; init; }
}

/// <summary>How the proxy speaks to the members.</summary>
internal sealed record UpstreamTls(string CertFile, string KeyFile, string CaFile, bool SkipVerify)
{
    public bool Wanted => CertFile.Length > 0 || KeyFile.Length > 0 || CaFile.Length > 0 || SkipVerify;
}
