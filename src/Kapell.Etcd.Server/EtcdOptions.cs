using System.Globalization;
using Kapell.Base;
using Kapell.Etcd.Server.Backups;
using Kapell.Etcd.Server.Discovery;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Http;
using Kapell.Etcd.Server.Http2;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Etcd.Server.Tracing;

namespace Kapell.Etcd.Server;

/// <summary>The settings of one member, from flags and ETCD_* variables. Names and defaults are upstream's (embed/config.go).</summary>
internal sealed record EtcdOptions
{
    public static readonly TimeSpan SlowCallDefault = TimeSpan.FromMilliseconds(300);

    public required string Name { get; init; }

    public required string DataDirectory { get; init; }

    /// <summary>For the log: flags that were set and have no effect.</summary>
    public IReadOnlyList<string> Notices { get; init; } = [];

    public required IReadOnlyList<string> ListenClientUrls { get; init; }

    public required IReadOnlyList<string> AdvertiseClientUrls { get; init; }

    public required IReadOnlyList<string> InitialAdvertisePeerUrls { get; init; }

    public required IReadOnlyList<string> ListenMetricsUrls { get; init; }

    /// <summary>For HTTP without gRPC; none: the client addresses serve both.</summary>
    public IReadOnlyList<string> ListenClientHttpUrls { get; init; } = [];

    public required string ClusterToken { get; init; }

    public required IReadOnlyList<string> ListenPeerUrls { get; init; }

    /// <summary>Each member's name with one of its peer addresses; a name may come several times.</summary>
    public required IReadOnlyList<InitialMember> InitialCluster { get; init; }

    /// <summary>Join a cluster that runs, instead of founding one with the members of <see cref="InitialCluster"/>.</summary>
    public required bool JoinsExisting { get; init; }

    /// <summary>Where the founders find each other; null: they are named, or in <see cref="DiscoveryDomain"/>.</summary>
    public DiscoverySettings? Discovery { get; init; }

    /// <summary>Of DNS; empty for none.</summary>
    public string DiscoveryDomain { get; init; } = "";

    public string DiscoveryServiceName { get; init; } = "";

    public required bool PreVote { get; init; }

    public required bool StrictReconfigCheck { get; init; }

    public required ServerTls PeerTls { get; init; }

    public required EtcdLimits Limits { get; init; }

    /// <summary>Certificates made by the member itself, where none are named.</summary>
    public bool AutoTls { get; init; }

    public bool PeerAutoTls { get; init; }

    /// <summary>Other members are called from an address at which this one is advertised.</summary>
    public bool CallsFromAdvertised { get; init; }

    public int SelfSignedYears { get; init; } = 1;

    /// <summary>Null: in the data directory.</summary>
    public string? WalDirectory { get; init; }

    /// <summary>Of one HTTP/2 connection.</summary>
    public int ConcurrentStreamsMax { get; init; } = int.MaxValue;

    /// <summary>Null: a client that says nothing is never asked whether it is there.</summary>
    public KeepAlivePolicy? KeepAlive { get; init; }

    /// <summary>More are not taken in at a time.</summary>
    public int LearnersMax { get; init; } = 1;

    /// <summary>Nothing is ever flushed to the disk.</summary>
    public bool UnsafeNoFsync { get; init; }

    public required ulong SnapshotCount { get; init; }

    /// <summary>What stays of the applied log in memory.</summary>
    public LogRetention Retention { get; init; } = new();

    public required int HeartbeatMilliseconds { get; init; }

    public required int ElectionMilliseconds { get; init; }

    /// <summary>Periodic, or revisions to keep; zero for none.</summary>
    public TimeSpan CompactionPeriod { get; init; }

    public long CompactionRevisions { get; init; }

    /// <summary>Become the only member of the cluster.</summary>
    public bool ForceNewCluster { get; init; }

    /// <summary>The leader tells the others how much time is left of leases.</summary>
    public bool LeaseCheckpoints { get; init; }

    /// <summary>Null: none are kept.</summary>
    public BackupSettings? Backups { get; init; }

    /// <summary>How long a learner must have kept up before it may vote by itself; zero: never.</summary>
    public TimeSpan PromoteLearnersAfter { get; init; }

    /// <summary>Voters below which no member is removed; 0: as etcd.</summary>
    public int VotersMin { get; init; }

    /// <summary>Between the beginnings of two rounds that compare the members' content; zero for none.</summary>
    public TimeSpan ComparisonInterval { get; init; }

    /// <summary>A call that takes longer is named in the log. etcd: embed/config.go DefaultWarningUnaryRequestDuration</summary>
    public TimeSpan SlowCallAfter { get; init; } = SlowCallDefault;

    /// <summary>What is applied together and takes longer is named in the log.</summary>
    public TimeSpan SlowApplyAfter { get; init; } = ReplicaSettings.SlowApplyDefault;

    /// <summary>Null: no spans.</summary>
    public TracingOptions? Tracing { get; init; }

    /// <summary>Another process may listen where this one does, if it wants that too.</summary>
    public bool ReusesPorts { get; init; }

    public IReadOnlyList<FeatureGate> Features { get; init; } = FeatureGates.Parse("").All;

    /// <summary>How long calls take is shown for each method.</summary>
    public bool MeasuresCalls { get; init; }

    /// <summary>Compare with the others before clients are served.</summary>
    public bool InitialCorruptCheck { get; init; }

    public required ServerTls Tls { get; init; }

    public required AuthSettings Auth { get; init; }

    /// <summary>JSON over HTTP under /v3.</summary>
    public required bool EnableGateway { get; init; }

    /// <summary>Origins of web pages that may ask; none or "*": all.</summary>
    public required IReadOnlyList<string> Cors { get; init; }

    /// <summary>Names of this host in requests without TLS; none or "*": all.</summary>
    public required IReadOnlyList<string> HostWhitelist { get; init; }
}

/// <summary>Files of the server's certificate and of those it trusts to sign clients'.</summary>
internal sealed record ServerTls(string CertFile, string KeyFile, bool ClientCertAuth, string TrustedCaFile)
{
    /// <summary>Certificates that are not to be believed any more; empty for none.</summary>
    public string CrlFile { get; init; } = "";

    /// <summary>What the member shows when it calls; empty: the same as when it is called.</summary>
    public string ClientCertFile { get; init; } = "";

    public string ClientKeyFile { get; init; } = "";

    /// <summary>Common names of which a caller's certificate must have one; none: any that the authority signed.</summary>
    public IReadOnlyList<string> AllowedCommonNames { get; init; } = [];

    /// <summary>Host names of which it must be good for one.</summary>
    public IReadOnlyList<string> AllowedHostNames { get; init; } = [];

    /// <summary>Nobody vouches for it: who calls with it or is called does not check.</summary>
    public bool IsSelfSigned { get; init; }

    /// <summary>Whether a caller's certificate must be good for the address it calls from.</summary>
    public bool ChecksCallerAddress { get; init; }

    public TlsRules Rules { get; init; } = TlsRules.Usual;
}
