using System.Globalization;
using Kapell.Base;
using Kapell.Etcd.Server.Logging;
using Kapell.Etcd.Server.Backups;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Http;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Etcd.Server.Tracing;

namespace Kapell.Etcd.Server;

/// <summary>Reads the flags, in upstream's groups; what upstream knows and we do not is in <see cref="EtcdUnusedFlags"/>.</summary>
internal sealed class EtcdFlags
{
    private const int HeartbeatDefault = 100;
    private const int ElectionDefault = 1000;
    private const int ElectionMax = 50_000;
    private const int SnapshotCountDefault = 10_000;
    private const int RequestBytesBound = 256 << 20;
    private const int VotersMinMax = 7;
    private const int LearnersLimit = 100;
    private const string UnsyncedNotice = "--unsafe-no-fsync is set: nothing is flushed to the disk, and when the machine goes down what was acknowledged may be lost";

    private const string Experimental = "experimental-";
    private const string Prefix = "ETCD_";
    private const string VersionVariable = "ETCD_VERSION";
    private const string ArchitectureVariable = "ETCD_UNSUPPORTED_ARCH"; // etcd: checkSupportArch takes it away before flags are read.
    private const long HoursMax = 2_562_047; // Go's longest.

    public const string TokenDefault = "etcd-cluster";
    private static readonly TimeSpan ProgressDefault = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan ComparisonIntervalDefault = TimeSpan.FromSeconds(30);
    private static readonly string[] DefaultClient = ["http://localhost:2379"];
    private static readonly string[] DefaultPeer = ["http://localhost:2380"];

    private readonly FlagSet _flags = new("etcd", "Kapell's store: etcd's API, flags and behaviour.", FlagWords.Go);
    private readonly List<string> _notices = [];
    private bool _fromFile;
    private readonly FlagValue<string> _name;
    private readonly FlagValue<string> _dataDir;
    private readonly FlagValue<string> _walDir;
    private readonly FlagValue<ulong> _snapshotCount;
    private readonly FlagValue<ulong> _catchUp;
    private readonly FlagValue<ulong> _heartbeat;
    private readonly FlagValue<ulong> _election;
    private readonly FlagValue<IReadOnlyList<string>> _listenPeer;
    private readonly FlagValue<IReadOnlyList<string>> _listenClient;
    private readonly FlagValue<IReadOnlyList<string>> _listenClientHttp;
    private readonly FlagValue<long> _quota;
    private readonly FlagValue<ulong> _maxTxnOps;
    private readonly FlagValue<ulong> _maxRequestBytes;
    private readonly FlagValue<TimeSpan> _watchProgress;
    private readonly FlagValue<IReadOnlyList<string>> _advertisePeer;
    private readonly FlagValue<string> _initialCluster;
    private readonly FlagValue<string> _clusterState;
    private readonly FlagValue<string> _token;
    private readonly FlagValue<IReadOnlyList<string>> _advertiseClient;
    private readonly FlagValue<string> _compactionMode;
    private readonly FlagValue<string> _compactionRetention;
    private readonly FlagValue<string> _certFile;
    private readonly FlagValue<string> _keyFile;
    private readonly FlagValue<bool> _clientCertAuth;
    private readonly FlagValue<string> _trustedCa;
    private readonly FlagValue<string> _peerCertFile;
    private readonly FlagValue<string> _peerKeyFile;
    private readonly FlagValue<bool> _peerClientCertAuth;
    private readonly FlagValue<string> _peerTrustedCa;
    private readonly FlagValue<bool> _preVote;
    private readonly FlagValue<bool> _strictReconfig;
    private readonly FlagValue<IReadOnlyList<string>> _listenMetrics;
    private readonly FlagValue<bool> _version;
    private readonly FlagValue<string> _configFile;
    private readonly FlagValue<bool> _autoTls;
    private readonly FlagValue<bool> _peerAutoTls;
    private readonly FlagValue<ulong> _selfSignedYears;
    private readonly FlagValue<uint> _streams;
    private readonly FlagValue<string> _clientCrl;
    private readonly FlagValue<string> _peerCrl;
    private readonly FlagValue<IReadOnlyList<string>> _ciphers;
    private readonly FlagValue<string> _tlsMin;
    private readonly FlagValue<string> _tlsMax;
    private readonly FlagValue<string> _metrics;
    private readonly FlagValue<string> _gates;
    private readonly FlagValue<bool> _localAddress;
    private readonly FlagValue<bool> _skipAddresses;
    private readonly FlagValue<TimeSpan> _oldWatchProgress;
    private readonly FlagValue<TimeSpan> _corruptCheck;
    private readonly FlagValue<TimeSpan> _oldCorruptCheck;
    private readonly FlagValue<bool> _forceNewCluster;
    private readonly FlagValue<bool> _leaseCheckpoint;
    private readonly FlagValue<bool> _oldLeaseCheckpoint;
    private readonly FlagValue<string> _backupDir;
    private readonly FlagValue<TimeSpan> _backupInterval;
    private readonly FlagValue<TimeSpan> _backupRetention;
    private readonly FlagValue<bool> _promote;
    private readonly FlagValue<TimeSpan> _promoteAfter;
    private readonly FlagValue<int> _votersMin;
    private readonly FlagValue<bool> _compare;
    private readonly FlagValue<bool> _initialCheck;
    private readonly FlagValue<bool> _oldInitialCheck;
    private readonly FlagValue<TimeSpan> _slowApply;
    private readonly TracingFlags _tracing;
    private readonly FlagValue<bool> _reusePort;
    private readonly EtcdUnusedFlags _unused;
    private readonly FlagValue<bool> _gateway;
    private readonly FlagValue<IReadOnlyList<string>> _cors;
    private readonly FlagValue<IReadOnlyList<string>> _hostWhitelist;
    private readonly FlagValue<string> _authToken;
    private readonly FlagValue<ulong> _authTokenTtl;
    private readonly FlagValue<ulong> _bcryptCost;
    private readonly FlagValue<string> _peerClientCert;
    private readonly FlagValue<string> _peerClientKey;
    private readonly FlagValue<IReadOnlyList<string>> _allowedNames;
    private readonly FlagValue<IReadOnlyList<string>> _allowedHost;
    private readonly FlagValue<IReadOnlyList<string>> _peerAllowedNames;
    private readonly FlagValue<IReadOnlyList<string>> _peerAllowedHost;
    private readonly DiscoveryFlags _discovery;
    private readonly FlagValue<string> _logger;
    private readonly FlagValue<string> _logLevel;
    private readonly FlagValue<IReadOnlyList<string>> _logOutputs;
    private readonly FlagValue<string> _logFormat;
    private readonly KeepAliveFlags _keepAlive;
    private readonly FlagValue<int> _learnersMax;
    private readonly FlagValue<bool> _noFsync;
    private readonly FlagValue<TimeSpan> _slowCall;
    private readonly FlagValue<TimeSpan> _oldSlowCall;
    private readonly FlagValue<bool> _logRotates;
    private readonly FlagValue<string> _logRotation;

    public EtcdFlags()
    {
        _unused = new EtcdUnusedFlags(_flags);
        _configFile = _flags.String("config-file", "", "Path to the server configuration file; other flags and variables are then ignored.");
        _flags.Group("Member");
        _name = _flags.String("name", "default", "Human-readable name for this member.");
        _dataDir = _flags.String("data-dir", "", "Path to the data directory (default ${name}.etcd).");
        _walDir = _flags.String("wal-dir", "", "Path to the dedicated wal directory.");
        _snapshotCount = _flags.Unsigned(
            "snapshot-count", SnapshotCountDefault,
            "Number of committed transactions to trigger a checkpoint to disk, once 64 MiB or a sixteenth of the store (of a small one half, at most 128 MiB) have come too. 0 means the default.");
        _catchUp = _flags.Unsigned(
            "snapshot-catchup-entries", 0,
            "Number of applied entries that stay in memory for a member that lags; one that lags by more is sent a checkpoint. 0: 5000, or while a member lacks them 64 MiB or a quarter of the store; 256 while there is no other member.");
        _flags.Alias("experimental-snapshot-catchup-entries", "snapshot-catchup-entries");
        _heartbeat = _flags.Unsigned("heartbeat-interval", HeartbeatDefault, "Time (in milliseconds) of a heartbeat interval.");
        _election = _flags.Unsigned("election-timeout", ElectionDefault, "Time (in milliseconds) for an election to timeout.");
        _listenPeer = _flags.List("listen-peer-urls", DefaultPeer, "List of URLs to listen on for peer traffic.", ListenAddress.WrongWith);
        _listenClient = _flags.List("listen-client-urls", DefaultClient, "List of URLs to listen on for client grpc traffic and http.", ListenAddress.WrongWith);
        _listenClientHttp = _flags.List("listen-client-http-urls", [], "List of URLs to listen on for http only client traffic. --listen-client-urls are then for gRPC alone.", ListenAddress.WrongWith);
        _quota = _flags.Long("quota-backend-bytes", 0, "Raise alarms when the content exceeds the given quota. 0 means 2 GiB, less than 0 none.");
        _maxTxnOps = _flags.Unsigned("max-txn-ops", 128, "Maximum number of operations permitted in a transaction.");
        _maxRequestBytes = _flags.Unsigned("max-request-bytes", 1536 * 1024, "Maximum client request size in bytes the server will accept.");
        _watchProgress = _flags.Duration(
            "watch-progress-notify-interval", ProgressDefault, "Duration of periodical watch progress notification.");
        _streams = _flags.Unsigned32("max-concurrent-streams", uint.MaxValue, "Maximum concurrent streams that each client can open at a time.");
        _keepAlive = new KeepAliveFlags(_flags);
        _reusePort = _flags.Bool("socket-reuse-port", false, "Enable to set socket option SO_REUSEPORT on listeners allowing rebinding of a port already in use.");
        _gates = _flags.String("feature-gates", "", "name=true|false pairs. All are taken: " + string.Join(", ", FeatureGates.Names) + ". Only InitialCorruptCheck, LeaseCheckpoint and SetMemberLocalAddr change anything here.");
        _unused.Member();
        _gateway = _flags.Bool("enable-grpc-gateway", true, "Enable GRPC gateway.");
        _flags.Group("Backups (not flags of etcd)");
        _backupDir = _flags.String("backup-dir", "", "Keep backups here, best on another disk: a whole one now and then, and the log of everything since. `etcdutl restore` restores any revision or time.");
        _backupInterval = _flags.Duration("backup-interval", TimeSpan.FromHours(1), "Time between two whole backups.");
        _backupRetention = _flags.Duration("backup-retention", TimeSpan.FromDays(7), "How far back a point in time can be restored; older backups are deleted.");
        _flags.Group("Clustering");
        _advertisePeer = _flags.List("initial-advertise-peer-urls", DefaultPeer, "List of this member's peer URLs to advertise.", ListenAddress.WrongWith);
        _initialCluster = _flags.String("initial-cluster", "", "Initial cluster configuration for bootstrapping: name=peer-url, comma-separated.");
        _clusterState = _flags.Choice("initial-cluster-state", "new", ["new", "existing"], "Initial cluster state ('new' when bootstrapping a cluster, 'existing' when joining one).");
        _token = _flags.String("initial-cluster-token", TokenDefault, "Initial cluster token for the etcd cluster during bootstrap.");
        _preVote = _flags.Bool("pre-vote", true, "Enable the raft Pre-Vote algorithm to prevent disruption when a node that has been partitioned away rejoins the cluster.");
        _strictReconfig = _flags.Bool("strict-reconfig-check", true, "Reject reconfiguration requests that would cause quorum loss.");
        _advertiseClient = _flags.List("advertise-client-urls", DefaultClient, "List of this member's client URLs to advertise.", ListenAddress.WrongWith);
        _compactionMode = _flags.String("auto-compaction-mode", "periodic", "Interpret 'auto-compaction-retention' one of: periodic|revision.");
        _compactionRetention = _flags.String("auto-compaction-retention", "0", "Auto compaction retention length. 0 means disable auto compaction.");
        _discovery = new DiscoveryFlags(_flags);
        _promote = _flags.Bool(
            "auto-promote-learners", false,
            "The leader promotes a learner by itself once it has kept up for --auto-promote-after. Off, as etcd has no such thing and its clients expect learners to stay. Not a flag of etcd.");
        _promoteAfter = _flags.Duration("auto-promote-after", TimeSpan.FromSeconds(10), "How long a learner must have kept up without a break before it is promoted. Not a flag of etcd.");
        _votersMin = _flags.Int("min-voters", 0, "Refuse to remove a voting member when fewer than this many would be left. 0 means no such bound. Not a flag of etcd.");
        _learnersMax = _flags.Int("max-learners", 1, "Sets the maximum number of learners that can be available in the cluster membership. The same at every member.");
        _flags.Alias("experimental-max-learners", "max-learners");
        _unused.Clustering();
        _flags.Group("Security");
        _certFile = _flags.String("cert-file", "", "Path to the client server TLS cert file.");
        _keyFile = _flags.String("key-file", "", "Path to the client server TLS key file.");
        _clientCertAuth = _flags.Bool("client-cert-auth", false, "Enable client cert authentication.");
        _trustedCa = _flags.String("trusted-ca-file", "", "Path to the client server TLS trusted CA cert file.");
        _peerCertFile = _flags.String("peer-cert-file", "", "Path to the peer server TLS cert file.");
        _peerKeyFile = _flags.String("peer-key-file", "", "Path to the peer server TLS key file.");
        _peerClientCertAuth = _flags.Bool("peer-client-cert-auth", false, "Enable peer client cert authentication.");
        _peerTrustedCa = _flags.String("peer-trusted-ca-file", "", "Path to the peer server TLS trusted CA file.");
        _autoTls = _flags.Bool("auto-tls", false, "Client TLS using generated certificates.");
        _peerAutoTls = _flags.Bool("peer-auto-tls", false, "Peer TLS using self-generated certificates if --peer-key-file and --peer-cert-file are not provided.");
        _selfSignedYears = _flags.Unsigned("self-signed-cert-validity", 1, "The validity period in years of certificates that are generated.");
        _clientCrl = _flags.String("client-crl-file", "", "Path to the client certificate revocation list file.");
        _peerCrl = _flags.String("peer-crl-file", "", "Path to the peer certificate revocation list file.");
        _ciphers = _flags.List("cipher-suites", [], "Comma-separated list of supported TLS cipher suites between client/server and peers.");
        _tlsMin = _flags.String("tls-min-version", "TLS1.2", "Minimum TLS version supported by etcd. Possible values: TLS1.2, TLS1.3.");
        _tlsMax = _flags.String("tls-max-version", "", "Maximum TLS version supported by etcd. Possible values: TLS1.2, TLS1.3.");
        _peerClientCert = _flags.String("peer-client-cert-file", "", "Path to an explicit peer client TLS cert file otherwise peer cert file will be used.");
        _peerClientKey = _flags.String("peer-client-key-file", "", "Path to an explicit peer client TLS key file otherwise peer key file will be used.");
        _allowedNames = _flags.List("client-cert-allowed-cn", [], "Required CN for client certs connecting to the client endpoint (etcd: in the configuration file alone).");
        _allowedHost = _flags.List("client-cert-allowed-hostname", [], "Allowed SAN hostname for client cert authentication.");
        _peerAllowedNames = _flags.List("peer-cert-allowed-cn", [], "Required CN for client certs connecting to the peer endpoint.");
        _peerAllowedHost = _flags.List("peer-cert-allowed-hostname", [], "Allowed TLS hostname for inter peer authentication.");
        _skipAddresses = _flags.Bool("peer-skip-client-san-verification", false, "Skip verification of SAN field in client certificate for peer connections: of the address that a peer calls from.");
        _flags.Alias("experimental-peer-skip-client-san-verification", "peer-skip-client-san-verification");
        _unused.Security();
        _cors = _flags.List("cors", ["*"], "Comma-separated whitelist of origins for CORS, or cross-origin resource sharing, (empty or * means allow all).", static o => o == "*" ? null : ListenAddress.WrongWith(o));
        _hostWhitelist = _flags.List("host-whitelist", ["*"], "Acceptable hostnames from HTTP client requests, if server is not secure (empty or * means allow all).");
        _flags.Group("Auth");
        _authToken = _flags.String("auth-token", "simple", "Specify a v3 authentication token type and its options ('simple' or 'jwt').");
        _bcryptCost = _flags.Unsigned("bcrypt-cost", AuthSettings.BcryptCostDefault, "Specify the cost of the bcrypt algorithm for hashing auth passwords, between 4 and 31.");
        _authTokenTtl = _flags.Unsigned("auth-token-ttl", 300, "Time (in seconds) of the auth-token-ttl.");
        _flags.Group("Logging and profiling");
        _logger = _flags.String("logger", "zap", "'zap', or 'capnslog' for columns as versions before 3.5 wrote.");
        _logLevel = _flags.String("log-level", "info", "Configures log level. Only supports debug, info, warn, error, panic, or fatal.");
        _logOutputs = _flags.List("log-outputs", ["default"], "Specify 'stdout' or 'stderr' to skip journald logging, or list of comma separated output targets.");
        _logFormat = _flags.String("log-format", "json", "Configures log format. Only supports json, console.");
        _logRotates = _flags.Bool("enable-log-rotation", false, "Enable log rotation of a single log-outputs file target.");
        _logRotation = _flags.String(
            "log-rotation-config-json", "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}",
            "Configures log rotation: MaxSize in megabytes, MaxAge in days, MaxBackups, LocalTime, Compress.");
        _metrics = _flags.String("metrics", "basic", "'basic', or 'extensive': also how long calls take, by method (grpc_server_handling_seconds).");
        _slowCall = _flags.Duration("warning-unary-request-duration", TimeSpan.Zero, "A call that takes longer is named in the log. 0 means 300ms.");
        _oldSlowCall = _flags.Duration("experimental-warning-unary-request-duration", TimeSpan.Zero, "The name of --warning-unary-request-duration before 3.6.");
        _slowApply = _flags.Duration("warning-apply-duration", ReplicaSettings.SlowApplyDefault, "What is applied together and takes longer is named in the log.");
        _flags.Alias("experimental-warning-apply-duration", "warning-apply-duration");
        _tracing = new TracingFlags(_flags);
        _unused.Logging();
        _listenMetrics = _flags.List("listen-metrics-urls", [], "List of URLs to listen on for the /metrics and /health endpoints.", ListenAddress.WrongWith);
        _flags.Group("Features");
        _localAddress = _flags.Bool("experimental-set-member-localaddr", false, "Call other members from the first address in --initial-advertise-peer-urls that is not of the loopback. As --feature-gates=SetMemberLocalAddr=true.");
        _compare = _flags.Bool(
            "compare-members", true,
            "The leader compares its content with the other members' all the time, at a hundredth of one core at most, and raises the alarm CORRUPT for one that differs. Not a flag of etcd.");
        _corruptCheck = _flags.Duration("corrupt-check-time", TimeSpan.Zero, "Duration of time between cluster corruption check passes. 0 means 30s here; --compare-members=false switches them off.");
        _oldCorruptCheck = _flags.Duration("experimental-corrupt-check-time", TimeSpan.Zero, "The name of --corrupt-check-time before 3.6.");
        _leaseCheckpoint = _flags.Bool("enable-lease-checkpoint", false, "The leader tells the others how much time is left of long leases, so that a new leader does not give all of it anew. As --feature-gates=LeaseCheckpoint=true.");
        _oldLeaseCheckpoint = _flags.Bool("experimental-enable-lease-checkpoint", false, "The name of --enable-lease-checkpoint before 3.6.");
        _initialCheck = _flags.Bool("initial-corrupt-check", false, "Compare with the other members before serving any client, and do not start when the content differs. As --feature-gates=InitialCorruptCheck=true.");
        _oldInitialCheck = _flags.Bool("experimental-initial-corrupt-check", false, "The name of --initial-corrupt-check before 3.6.");
        _unused.Features();
        _oldWatchProgress = _flags.Duration("experimental-watch-progress-notify-interval", TimeSpan.Zero, "The name of --watch-progress-notify-interval before 3.6.");
        _flags.Group("Unsafe");
        _noFsync = _flags.Bool("unsafe-no-fsync", false, "Disables fsync, unsafe, will cause data loss when the machine goes down: for tests.");
        _forceNewCluster = _flags.Bool(
            "force-new-cluster", false,
            "Become the only member of the cluster, with the data that is here. For when the majority is lost for good: the other members must never run again.");
        _flags.Group("");
        _version = _flags.Bool("version", false, "Print the version and exit.");
        _flags.Examples.Add("etcd --data-dir /var/lib/etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379");
    }

    public bool HelpWanted => _flags.HelpWanted;

    public bool VersionWanted => _version.Value;

    /// <summary>All flags of the command line are known and have values of their kind: what is wrong beyond that is in what they say together, in a file or a variable.</summary>
    public bool LineIsRead { get; private set; }

    public string Help() => _flags.Help();

    /// <exception cref="FlagException">A flag of the log is wrong.</exception>
    public LogSettings Logs() =>
        LogSettings.Parse(_logger.Value, _logLevel.Value, _logFormat.Value, _logOutputs.Value, _logRotates.Value, _logRotation.Value);

    /// <summary>Reads the command line, and what it leaves to a file or to the environment.</summary>
    /// <param name="args">The command line.</param>
    /// <param name="environment">The value of a variable.</param>
    /// <param name="variables">The names of all that are set; null: flags pass over them in silence, as beside other components.</param>
    /// <exception cref="FlagException">A flag is wrong or not supported; the message says which and why.</exception>
    public void Parse(IReadOnlyList<string> args, Func<string, string?> environment, IEnumerable<string>? variables = null)
    {
        _flags.Parse(args);
        LineIsRead = true;
        if (HelpWanted || VersionWanted)
        {
            return;
        }

        if (_flags.Arguments.Count > 0)
        {
            throw new FlagException($"'{_flags.Arguments[0]}' is not a valid flag");
        }

        string path = _configFile.Value.Length > 0 ? _configFile.Value : environment(VariableOf("config-file")) ?? "";
        if (path.Length > 0)
        {
            ReadFile(path);
            return;
        }

        ReadEnvironment(environment, variables);
    }

    private static string VariableOf(string flag) => Prefix + flag.ToUpperInvariant().Replace('-', '_');

    // etcd: pkg/flags/flag.go SetFlagsFromEnv, verifyEnv
    private void ReadEnvironment(Func<string, string?> environment, IEnumerable<string>? variables)
    {
        Dictionary<string, string> known = _flags.Names.Where(static n => n != "version").ToDictionary(VariableOf, StringComparer.Ordinal);
        HashSet<string> onLine = [.. known.Where(pair => _flags.WasNamed(pair.Value)).Select(static pair => pair.Key)];
        foreach ((string variable, string name) in known.Where(pair => !onLine.Contains(pair.Key)))
        {
            if (environment(variable) is { Length: > 0 } text && !(variables is null && _flags.WasSet(name)))
            {
                _flags.SetFromText(name, text, variable);
            }
        }

        foreach (string variable in (variables ?? []).Where(static v => v.StartsWith(Prefix, StringComparison.Ordinal)).Order(StringComparer.Ordinal))
        {
            if (onLine.Contains(variable))
            {
                throw new FlagException(
                    $"conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag)): {variable}");
            }

            if (variable is VersionVariable)
            {
                _notices.Add($"cannot set special environment variable {variable}");
            }
            else if (variable is not ArchitectureVariable && !(known.ContainsKey(variable) && environment(variable) is { Length: > 0 }))
            {
                _notices.Add($"unrecognized environment variable {variable}");
            }
        }
    }

    // etcd: with a file, nothing else counts: what flags and variables set is put back.
    private void ReadFile(string path)
    {
        _flags.Reset();
        EtcdConfigFile.Read(path, _flags);
        _fromFile = true;
    }

    public EtcdOptions ToOptions()
    {
        FeatureGates gates = RefuseWhatIsNotThere();
        TlsRules rules = TlsRules.Parse(_tlsMin.Value, _tlsMax.Value, _ciphers.Value);
        CheckNumbers();
        CheckUrls();
        CheckShared();
        CheckDirectories();
        if (!_fromFile && _flags.WasSet("listen-client-urls") && !_flags.WasSet("advertise-client-urls"))
        {
            throw new FlagException("--advertise-client-urls is required when --listen-client-urls is set explicitly");
        }

        IReadOnlyList<InitialMember> initial = _discovery.IsWanted(_initialCluster.Value.Length > 0) ? [] : Initial();
        const long quotaDefault = 2L << 30;
        (TimeSpan period, long revisions) = Compaction();
        return new EtcdOptions
        {
            Name = _name.Value,
            Notices = [.. _notices, .. _unused.Notices, .. _noFsync.Value ? [UnsyncedNotice] : Array.Empty<string>()],
            DataDirectory = _dataDir.Value.Length > 0 ? _dataDir.Value : _name.Value + ".etcd",
            ListenClientUrls = _listenClient.Value,
            AdvertiseClientUrls = _advertiseClient.Value,
            InitialAdvertisePeerUrls = _advertisePeer.Value,
            ListenMetricsUrls = _listenMetrics.Value,
            ListenClientHttpUrls = _listenClientHttp.Value,
            ClusterToken = _token.Value,
            ListenPeerUrls = _listenPeer.Value,
            InitialCluster = initial,
            JoinsExisting = _clusterState.Value == "existing",
            Discovery = _discovery.Service(),
            DiscoveryDomain = _discovery.Domain,
            DiscoveryServiceName = _discovery.ServiceName,
            PreVote = _preVote.Value,
            StrictReconfigCheck = _strictReconfig.Value,
            PeerTls = new ServerTls(_peerCertFile.Value, _peerKeyFile.Value, _peerClientCertAuth.Value, _peerTrustedCa.Value)
            {
                CrlFile = _peerCrl.Value,
                Rules = rules,
                ClientCertFile = _peerClientCert.Value,
                ClientKeyFile = _peerClientKey.Value,
                AllowedCommonNames = _peerAllowedNames.Value,
                AllowedHostNames = _peerAllowedHost.Value,
                ChecksCallerAddress = !_skipAddresses.Value,
            },
            CallsFromAdvertised = gates["SetMemberLocalAddr"],
            SnapshotCount = _snapshotCount.Value == 0 ? SnapshotCountDefault : _snapshotCount.Value,
            Retention = Bounded(_catchUp) is > 0 and int kept ? new LogRetention { Entries = kept, EntriesAlone = kept, BytesForLagging = 0 } : new LogRetention(),
            HeartbeatMilliseconds = Bounded(_heartbeat),
            ElectionMilliseconds = Bounded(_election),
            CompactionPeriod = period,
            CompactionRevisions = revisions,
            ForceNewCluster = _forceNewCluster.Value,
            LeaseCheckpoints = gates["LeaseCheckpoint"],
            Backups = Backups(),
            PromoteLearnersAfter = _promote.Value ? _promoteAfter.Value : TimeSpan.Zero,
            VotersMin = _votersMin.Value,
            ComparisonInterval = ComparisonInterval(),
            SlowCallAfter = SlowCallAfter(),
            SlowApplyAfter = _slowApply.Value,
            Tracing = _tracing.Value,
            ReusesPorts = _reusePort.Value,
            Features = gates.All,
            MeasuresCalls = _metrics.Value == "extensive",
            InitialCorruptCheck = gates["InitialCorruptCheck"],
            EnableGateway = _gateway.Value,
            Cors = _cors.Value,
            HostWhitelist = _hostWhitelist.Value,
            Auth = AuthSettings.Parse(_authToken.Value, TimeSpan.FromSeconds(Bounded(_authTokenTtl)), Bounded(_bcryptCost), _clientCertAuth.Value),
            Tls = new ServerTls(_certFile.Value, _keyFile.Value, _clientCertAuth.Value, _trustedCa.Value)
            {
                CrlFile = _clientCrl.Value, Rules = rules, AllowedCommonNames = _allowedNames.Value, AllowedHostNames = _allowedHost.Value,
            },
            AutoTls = _autoTls.Value && _certFile.Value.Length == 0,
            PeerAutoTls = _peerAutoTls.Value && _peerCertFile.Value.Length == 0,
            SelfSignedYears = SelfSignedYears(),
            WalDirectory = _walDir.Value.Length > 0 ? _walDir.Value : null,
            ConcurrentStreamsMax = (int)Math.Clamp(_streams.Value, 1u, int.MaxValue),
            KeepAlive = _keepAlive.Policy,
            LearnersMax = _learnersMax.Value,
            UnsafeNoFsync = _noFsync.Value,
            Limits = new EtcdLimits
            {
                RequestBytesMax = Math.Min(Bounded(_maxRequestBytes), RequestBytesBound),
                TxnOperationsMax = Bounded(_maxTxnOps),
                QuotaBytes = _quota.Value == 0 ? quotaDefault : Math.Max(0, _quota.Value),
                WatchProgressInterval = WatchProgressInterval(),
            },
        };
    }

    // etcd: embed/config.go Validate
    private void CheckNumbers()
    {
        string? wrong = _heartbeat.Value == 0 ? $"--heartbeat-interval must be >0 (set to {_heartbeat.Value}ms)"
            : _election.Value == 0 ? $"--election-timeout must be >0 (set to {_election.Value}ms)"
            : Bounded(_election) < 5L * Bounded(_heartbeat)
                ? $"--election-timeout[{_election.Value}ms] should be at least as 5 times as --heartbeat-interval[{_heartbeat.Value}ms]"
            : _election.Value > ElectionMax ? $"--election-timeout[{_election.Value}ms] is too long, and should be set less than {ElectionMax}ms"
            : _promote.Value && _promoteAfter.Value <= TimeSpan.Zero ? $"--auto-promote-after must be more than 0 (set to {GoDuration.Format(_promoteAfter.Value)})"
            : _votersMin.Value is < 0 or > VotersMinMax ? $"--min-voters must be between 0 and {VotersMinMax} (set to {_votersMin.Value})"
            : _learnersMax.Value is < 0 or > LearnersLimit ? $"--max-learners must be between 0 and {LearnersLimit} (set to {_learnersMax.Value})"
            : null;
        if (wrong is not null)
        {
            throw new FlagException(wrong);
        }
    }

    // More is as good as this.
    private static int Bounded(FlagValue<ulong> flag) => (int)Math.Min(flag.Value, int.MaxValue);

    // etcd: client/pkg/transport/listener.go SelfCert; embed/config.go configFromFile
    private int SelfSignedYears()
    {
        bool makes = (_autoTls.Value && _certFile.Value.Length == 0) || (_peerAutoTls.Value && _peerCertFile.Value.Length == 0);
        return _selfSignedYears.Value > 0 ? Bounded(_selfSignedYears)
            : makes && !_fromFile ? throw new FlagException("selfSignedCertValidity is invalid,it should be greater than 0")
            : 1;
    }

    private TimeSpan WatchProgressInterval()
    {
        TimeSpan asked = Renamed("watch-progress-notify-interval", _watchProgress, _oldWatchProgress);
        return asked > TimeSpan.Zero ? asked : ProgressDefault;
    }

    // The older name counts where it was used, whatever it says.
    private TimeSpan Renamed(string name, FlagValue<TimeSpan> flag, FlagValue<TimeSpan> old)
    {
        bool isOld = _flags.WasNamed(Experimental + name);
        TimeSpan asked = isOld ? old.Value : flag.Value;
        return asked >= TimeSpan.Zero ? asked : throw new FlagException($"--{(isOld ? Experimental : "")}{name} must not be negative (set to {GoDuration.Format(asked)})");
    }

    // etcd: embed/etcd.go configureClientListeners
    private void CheckShared()
    {
        HashSet<string> both = [.. _listenClient.Value];
        if (_listenClientHttp.Value.FirstOrDefault(both.Contains) is { } shared)
        {
            throw new FlagException($"cannot bind both --listen-client-urls and --listen-client-http-urls on the same url {shared}");
        }
    }

    private void CheckDirectories()
    {
        string data = Path.TrimEndingDirectorySeparator(Path.GetFullPath(_dataDir.Value.Length > 0 ? _dataDir.Value : _name.Value + ".etcd"));
        if (_walDir.Value.Length > 0 && Path.TrimEndingDirectorySeparator(Path.GetFullPath(_walDir.Value)) == data)
        {
            throw new FlagException($"--wal-dir and --data-dir are the same directory, {data}: the log needs one of its own, or leave --wal-dir out");
        }
    }

    private void CheckUrls()
    {
        (string Name, FlagValue<IReadOnlyList<string>> Urls, bool Listens)[] all =
        [
            ("listen-client-urls", _listenClient, true), ("listen-peer-urls", _listenPeer, true), ("listen-metrics-urls", _listenMetrics, true),
            ("listen-client-http-urls", _listenClientHttp, true),
            ("advertise-client-urls", _advertiseClient, false), ("initial-advertise-peer-urls", _advertisePeer, false),
        ];
        foreach ((string name, FlagValue<IReadOnlyList<string>> urls, bool listens) in all)
        {
            foreach (string url in urls.Value)
            {
                bool bare = listens && ListenAddress.Parse(url).IsTls && !_autoTls.Value && (_certFile.Value.Length == 0 || _keyFile.Value.Length == 0);
                if (bare && name is ("listen-client-urls" or "listen-metrics-urls"))
                {
                    // etcd: embed/etcd.go ErrMissingClientTLSInfoForMetricsURL
                    throw new FlagException(
                        name == "listen-client-urls" ? $"TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"
                            : "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url");
                }
            }
        }
    }

    private BackupSettings? Backups()
    {
        if (_backupDir.Value.Length == 0)
        {
            return null;
        }

        string directory = Path.GetFullPath(_backupDir.Value);
        string data = Path.GetFullPath(_dataDir.Value.Length > 0 ? _dataDir.Value : _name.Value + ".etcd");
        string? wrong = (directory + "/").StartsWith(data + "/", StringComparison.Ordinal) ? "--backup-dir must not lie in --data-dir: what destroys the one destroys the other"
            : _backupInterval.Value < TimeSpan.FromSeconds(1) ? $"--backup-interval must be at least 1s (set to {GoDuration.Format(_backupInterval.Value)})"
            : _backupRetention.Value < TimeSpan.Zero ? $"--backup-retention must not be negative (set to {GoDuration.Format(_backupRetention.Value)})"
            : null;
        return wrong is null ? new BackupSettings(directory, _backupInterval.Value, _backupRetention.Value) : throw new FlagException(wrong);
    }

    private TimeSpan ComparisonInterval()
    {
        TimeSpan asked = Renamed("corrupt-check-time", _corruptCheck, _oldCorruptCheck);
        return asked > TimeSpan.Zero ? asked
            : _compare.Value ? ComparisonIntervalDefault : TimeSpan.Zero;
    }

    // etcd: etcdmain/config.go parseWarningUnaryRequestDuration
    private TimeSpan SlowCallAfter() =>
        _slowCall.Value != TimeSpan.Zero && _oldSlowCall.Value != TimeSpan.Zero
            ? throw new FlagException("both --experimental-warning-unary-request-duration and --warning-unary-request-duration flags are set. Use only --warning-unary-request-duration")
            : _slowCall.Value != TimeSpan.Zero ? _slowCall.Value
            : _oldSlowCall.Value != TimeSpan.Zero ? _oldSlowCall.Value
            : EtcdOptions.SlowCallDefault;

    private FeatureGates RefuseWhatIsNotThere()
    {
        _unused.Check();
        if (_metrics.Value is not ("" or "basic" or "extensive"))
        {
            throw new FlagException($"unexpected metrics level \"{_metrics.Value}\": basic or extensive");
        }

        RefuseTwice();
        FeatureGates gates = FeatureGates.Parse(_gates.Value)
            .With("SetMemberLocalAddr", _localAddress.Value)
            .With("LeaseCheckpoint", _leaseCheckpoint.Value || _oldLeaseCheckpoint.Value)
            .With("InitialCorruptCheck", _initialCheck.Value || _oldInitialCheck.Value);
        return gates;
    }

    // etcd: embed/config.go Validate, SetFeatureGatesFromExperimentalFlags
    private void RefuseTwice()
    {
        foreach ((string flag, string gate) in FeatureGates.OlderFlags)
        {
            if (_flags.WasNamed(flag) && FeatureGates.Said(_gates.Value, gate) is { } said)
            {
                throw new FlagException(
                    $"cannot specify both flags: --{flag}={_flags.TextOf(flag)} and --feature-gates={gate}={said} at the same time, please just use --feature-gates={gate}={said}");
            }
        }

        foreach (string old in _flags.Names.Where(n => n.StartsWith(Experimental, StringComparison.Ordinal) && _flags.WasNamed(n)))
        {
            string name = old[Experimental.Length..];
            if (_flags.WasNamed(name) && name != "warning-unary-request-duration")
            {
                throw new FlagException($"cannot set --{old} and --{name} at the same time, please use --{name} only");
            }
        }
    }

    // etcd: embed/config.go: without --initial-cluster a member is alone, under its advertised peer addresses.
    private IReadOnlyList<InitialMember> Initial()
    {
        if (_initialCluster.Value.Length == 0)
        {
            return [.. _advertisePeer.Value.Select(url => new InitialMember(_name.Value, url))];
        }

        List<InitialMember> members = [];
        foreach (string part in _initialCluster.Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            string[] pair = part.Split('=', 2);
            bool isSocket = pair.Length == 2 && ListenAddress.SocketPath(pair[1]) is not null;
            if (!isSocket && (pair.Length != 2 || !Uri.TryCreate(pair[1], UriKind.Absolute, out Uri? url) || url.Scheme is not ("http" or "https")))
            {
                throw new FlagException($"--initial-cluster: \"{part}\" is not name=peer-url");
            }

            members.Add(new InitialMember(pair[0], pair[1]));
        }

        HashSet<string> own = [.. members.Where(m => m.Name == _name.Value).Select(static m => m.Url)];
        if (own.Count == 0)
        {
            throw new FlagException($"couldn't find local name \"{_name.Value}\" in the initial cluster configuration");
        }

        if (members.GroupBy(static m => m.Url).FirstOrDefault(static g => g.Select(static m => m.Name).Distinct().Count() > 1) is { } shared)
        {
            throw new FlagException($"--initial-cluster: members {string.Join(" and ", shared.Select(static m => m.Name))} share the peer address {shared.Key}");
        }

        // etcd: config.go advertiseMatchesCluster
        return own.SetEquals(_advertisePeer.Value)
            ? members
            : throw new FlagException(
                $"--initial-cluster has {string.Join(',', own.Order().Select(u => _name.Value + "=" + u))} but missing from "
                + $"--initial-advertise-peer-urls={string.Join(',', _advertisePeer.Value)}");
    }

    private (TimeSpan Period, long Revisions) Compaction()
    {
        string retention = _compactionRetention.Value;
        bool isNumber = long.TryParse(retention, NumberStyles.None, CultureInfo.InvariantCulture, out long number);
        switch (_compactionMode.Value)
        {
            case "revision":
                return isNumber ? (default, number) : throw new FlagException($"invalid --auto-compaction-retention \"{retention}\"");
            case "periodic":
                // etcd: embed/config.go: a bare number is hours.
                return isNumber ? (TimeSpan.FromHours(Math.Min(number, HoursMax)), 0) : (ParseDuration(retention), 0);
            case "":
                throw new FlagException("undefined auto-compaction-mode");
            default:
                throw new FlagException($"unknown auto-compaction-mode \"{_compactionMode.Value}\"");
        }
    }

    private static TimeSpan ParseDuration(string text)
    {
        try
        {
            TimeSpan retention = GoDuration.Parse(text);
            return retention >= TimeSpan.Zero ? retention : throw new FlagException($"--auto-compaction-retention must not be negative (set to {text})");
        }
        catch (FormatException e)
        {
            throw new FlagException($"error parsing CompactionRetention: {e.Message}");
        }
    }
}
