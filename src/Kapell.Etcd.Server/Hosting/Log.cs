using Kapell.Etcd.Server.Peers;
using Kapell.Raft;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>What the server says; one place, so that the texts are constant and can be searched for.</summary>
internal static partial class Log
{
    [LoggerMessage(EventId = 1000, Level = LogLevel.Information, Message = "loaded from {Directory}: {Story}")]
    public static partial void Loaded(ILogger logger, string directory, string story);

    [LoggerMessage(EventId = 998, Level = LogLevel.Warning, Message = "{Notice}")]
    public static partial void Notice(ILogger logger, string notice);

    [LoggerMessage(
        EventId = 999, Level = LogLevel.Information,
        Message = "starting an etcd server: version {EtcdVersion}, {Name} in {DataDir}; a checkpoint when {SnapshotCount} entries have come "
            + "and {CheckpointMebibytesMin} MiB of log, more of a large store; {SnapshotCatchupEntries} stay for "
            + "members that lag, {CatchupEntriesAlone} while there is no other member; heartbeat {HeartbeatInterval} ms, "
            + "election {ElectionTimeout} ms; quota {QuotaBackendBytes} bytes; v2 {V2Deprecation}")]
    public static partial void Starting(
        ILogger logger, string etcdVersion, string name, string dataDir, ulong snapshotCount, long checkpointMebibytesMin, int snapshotCatchupEntries,
        int catchupEntriesAlone, int heartbeatInterval, int electionTimeout, long quotaBackendBytes, string v2Deprecation);

    [LoggerMessage(EventId = 1001, Level = LogLevel.Information, Message = "{MemberId} became {Role} at term {Term}, leader {Leader}")]
    public static partial void LeaderChanged(ILogger logger, string memberId, string role, Term term, MemberId leader);

    [LoggerMessage(EventId = 1034, Level = LogLevel.Information, Message = "closing etcd server {Name} of {DataDir}")]
    public static partial void Closing(ILogger logger, string name, string dataDir);

    [LoggerMessage(EventId = 1035, Level = LogLevel.Information, Message = "closed etcd server {Name} of {DataDir}")]
    public static partial void Closed(ILogger logger, string name, string dataDir);

    [LoggerMessage(EventId = 1002, Level = LogLevel.Information, Message = "serving client traffic on {Addresses}")]
    public static partial void Serving(ILogger logger, string addresses);

    [LoggerMessage(EventId = 1003, Level = LogLevel.Information, Message = "saved snapshot: checkpoint at entry {Index}, {Bytes} bytes")]
    public static partial void CheckpointTaken(ILogger logger, ulong index, long bytes);

    [LoggerMessage(EventId = 1004, Level = LogLevel.Warning, Message = "a checkpoint failed; the log is kept, and it is tried again later: {Reason}")]
    public static partial void CheckpointFailed(ILogger logger, string reason);

    [LoggerMessage(EventId = 1005, Level = LogLevel.Warning, Message = "{Used} bytes of the quota of {Quota} are used: writes are refused until there is space")]
    public static partial void NoSpace(ILogger logger, long used, long quota);

    [LoggerMessage(EventId = 1006, Level = LogLevel.Information, Message = "auto compaction at revision {Revision}")]
    public static partial void AutoCompacted(ILogger logger, long revision);

    [LoggerMessage(EventId = 1007, Level = LogLevel.Warning, Message = "auto compaction at revision {Revision} refused: {Reason}")]
    public static partial void AutoCompactionRefused(ILogger logger, long revision, string reason);

    [LoggerMessage(EventId = 1010, Level = LogLevel.Information, Message = "connected to peer {Member} ({Lane})")]
    public static partial void PeerConnected(ILogger logger, MemberId member, Lane lane);

    [LoggerMessage(EventId = 1011, Level = LogLevel.Warning, Message = "lost the connection to peer {Member} ({Lane}), trying again: {Reason}")]
    public static partial void PeerTrouble(ILogger logger, MemberId member, Lane lane, string reason);

    [LoggerMessage(EventId = 1012, Level = LogLevel.Information, Message = "sent database snapshot: a checkpoint of {Bytes} bytes, to {Member}")]
    public static partial void SnapshotSent(ILogger logger, MemberId member, long bytes);

    [LoggerMessage(EventId = 1013, Level = LogLevel.Warning, Message = "a checkpoint for {Member} did not arrive, it is tried again: {Reason}")]
    public static partial void SnapshotRefused(ILogger logger, MemberId member, string reason);

    [LoggerMessage(EventId = 1014, Level = LogLevel.Information, Message = "applied snapshot: the leader's checkpoint at entry {Index} replaced the store")]
    public static partial void CheckpointInstalled(ILogger logger, ulong index);

    [LoggerMessage(EventId = 1015, Level = LogLevel.Information, Message = "members are now {Members}")]
    public static partial void MembersChanged(ILogger logger, string members);

    [LoggerMessage(EventId = 1016, Level = LogLevel.Warning, Message = "refused peer {Member} on {Path}: {Reason}")]
    public static partial void PeerRefused(ILogger logger, string member, string path, string reason);

    [LoggerMessage(EventId = 1017, Level = LogLevel.Warning, Message = "a message of member {Member} was not taken: {Result}")]
    public static partial void MessageRefused(ILogger logger, MemberId member, StepResult result);

    [LoggerMessage(EventId = 1060, Level = LogLevel.Warning, Message = "slow disk: the log took {Seconds:F1} s for {Bytes} bytes, {AppendSeconds:F1} s of it before the flush")]
    public static partial void SlowDisk(ILogger logger, double seconds, long bytes, double appendSeconds);

    [LoggerMessage(EventId = 1062, Level = LogLevel.Warning, Message = "{Path}, of which the log has no more need, was not deleted; the next start does it: {Reason}")]
    public static partial void SegmentNotDeleted(ILogger logger, string path, string reason);

    [LoggerMessage(
        EventId = 1061, Level = LogLevel.Warning,
        Message = "apply request took too long: {Entries} entries took {Seconds:F2} s, {WaitSeconds:F2} s of it behind readers; expected {ExpectedSeconds} s")]
    public static partial void SlowApply(ILogger logger, int entries, double seconds, double waitSeconds, double expectedSeconds);

    [LoggerMessage(
        EventId = 1020, Level = LogLevel.Information,
        Message = "published local member to cluster through raft: {MemberId} {Name} [{ClientUrls}] in cluster {ClusterId}")]
    public static partial void Published(ILogger logger, string memberId, string name, string clientUrls, string clusterId);

    [LoggerMessage(EventId = 1021, Level = LogLevel.Information, Message = "enabled capabilities for version {Version}")]
    public static partial void Capabilities(ILogger logger, string version);

    [LoggerMessage(EventId = 1022, Level = LogLevel.Information, Message = "ready to serve client requests")]
    public static partial void ReadyToServe(ILogger logger);

    [LoggerMessage(
        EventId = 1026, Level = LogLevel.Warning,
        Message = "no leader after {Seconds} s: serving what this member had when it stopped; writes and linearizable reads wait for a majority")]
    public static partial void ServesAlone(ILogger logger, double seconds);

    [LoggerMessage(EventId = 1023, Level = LogLevel.Warning, Message = "{Reason}")]
    public static partial void Removed(ILogger logger, string reason);

    [LoggerMessage(EventId = 1024, Level = LogLevel.Warning, Message = "rejected connection on {Endpoint} endpoint: {RemoteAddr}: {Error}")]
    public static partial void ConnectionRejected(ILogger logger, string endpoint, string remoteAddr, string error);

    [LoggerMessage(EventId = 1025, Level = LogLevel.Warning, Message = "client certificate authentication failed: {Subject}: {Reason}")]
    public static partial void CertificateRefused(ILogger logger, string subject, string reason);

    [LoggerMessage(EventId = 1110, Level = LogLevel.Warning, Message = "{File} was changed and cannot be read, the certificate of before is shown: {Reason}")]
    public static partial void CertificateUnreadable(ILogger logger, string file, string reason);

    [LoggerMessage(EventId = 1040, Level = LogLevel.Information, Message = "ready to proxy client requests to {Endpoints}")]
    public static partial void GatewayReady(ILogger logger, string endpoints);

    [LoggerMessage(EventId = 1041, Level = LogLevel.Warning, Message = "deactivated endpoint {Address}, tried again every {Interval}: {Reason}")]
    public static partial void EndpointDeactivated(ILogger logger, string address, TimeSpan interval, string reason);

    [LoggerMessage(EventId = 1042, Level = LogLevel.Information, Message = "activated {Address}")]
    public static partial void EndpointActivated(ILogger logger, string address);

    [LoggerMessage(EventId = 1043, Level = LogLevel.Warning, Message = "failed to activate endpoint {Address} (stay inactive for another {Interval}): {Reason}")]
    public static partial void EndpointStaysInactive(ILogger logger, string address, TimeSpan interval, string reason);

    [LoggerMessage(EventId = 1044, Level = LogLevel.Information, Message = "started gRPC proxy on {Address} for {Endpoints}")]
    public static partial void ProxyStarted(ILogger logger, string address, string endpoints);

    [LoggerMessage(EventId = 1045, Level = LogLevel.Information, Message = "endpoints are now {Endpoints}")]
    public static partial void EndpointsSynced(ILogger logger, string endpoints);

    [LoggerMessage(EventId = 1046, Level = LogLevel.Warning, Message = "the members could not be asked for at {Address}: {Reason}")]
    public static partial void EndpointSyncFailed(ILogger logger, string address, string reason);

    [LoggerMessage(EventId = 1047, Level = LogLevel.Information, Message = "registered {Address} with lease of {Ttl} s")]
    public static partial void Registered(ILogger logger, string address, int ttl);

    [LoggerMessage(EventId = 1048, Level = LogLevel.Warning, Message = "{Address} is not registered, it is tried again: {Reason}")]
    public static partial void RegistrationFailed(ILogger logger, string address, string reason);

    [LoggerMessage(EventId = 1097, Level = LogLevel.Warning, Message = "{Address} does not serve, others are asked first: {Reason}")]
    public static partial void EndpointLost(ILogger logger, string address, string reason);

    [LoggerMessage(EventId = 1098, Level = LogLevel.Information, Message = "{Address} serves again")]
    public static partial void EndpointFound(ILogger logger, string address);

    [LoggerMessage(EventId = 1058, Level = LogLevel.Information, Message = "waiting for linearized read from cluster to recover ordering")]
    public static partial void RecoveringOrder(ILogger logger);

    [LoggerMessage(EventId = 1059, Level = LogLevel.Warning, Message = "ordering recovery failed, retrying in 1s: {Reason}")]
    public static partial void OrderNotRecovered(ILogger logger, string reason);

    [LoggerMessage(EventId = 1099, Level = LogLevel.Warning, Message = "the newest revision is not known before a client's first read: {Reason}")]
    public static partial void OrderUnknown(ILogger logger, string reason);

    [LoggerMessage(EventId = 1100, Level = LogLevel.Information, Message = "reads are answered here under lease {LeaseId:x} of {Member}")]
    public static partial void LeasingHeld(ILogger logger, string member, long leaseId);

    [LoggerMessage(EventId = 1101, Level = LogLevel.Warning, Message = "the lease for reads here could not be taken or renewed, trying again in 1s: {Reason}")]
    public static partial void LeasingInterrupted(ILogger logger, string reason);

    [LoggerMessage(EventId = 1102, Level = LogLevel.Warning, Message = "lease {LeaseId:x} of the leasing keys was not revoked, writers may wait until it ends: {Reason}")]
    public static partial void LeasingNotRevoked(ILogger logger, long leaseId, string reason);

    [LoggerMessage(EventId = 1050, Level = LogLevel.Information, Message = "discovered the initial cluster {Members}")]
    public static partial void Discovered(ILogger logger, string members);

    [LoggerMessage(EventId = 1051, Level = LogLevel.Information, Message = "{Found} of {Size} founders are in the discovery service")]
    public static partial void DiscoveryWaits(ILogger logger, int found, int size);

    [LoggerMessage(EventId = 1052, Level = LogLevel.Warning, Message = "the discovery service did not answer ({Reason}), next try in {Pause}")]
    public static partial void DiscoveryFailed(ILogger logger, string reason, TimeSpan pause);

    [LoggerMessage(EventId = 1053, Level = LogLevel.Information, Message = "setting member local address {LocalAddr}")]
    public static partial void LocalAddress(ILogger logger, string localAddr);

    [LoggerMessage(EventId = 1054, Level = LogLevel.Warning, Message = "unable to set a member local address due to lack of suitable local addresses in {AdvertisePeerUrls}")]
    public static partial void NoLocalAddress(ILogger logger, string advertisePeerUrls);

    [LoggerMessage(EventId = 1008, Level = LogLevel.Critical, Message = "this member cannot go on")]
    public static partial void Failed(ILogger logger, Exception cause);
}
