using Kapell.Etcd.Server.Peers;
using Kapell.Raft;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>What the server says; one place, so that the texts are constant and can be searched for.</summary>
internal static partial class Log
{
    [LoggerMessage(EventId = 1000, Level = LogLevel.Information, Message = "etcd: loaded from {Directory}: {Story}")]
    public static partial void Loaded(ILogger logger, string directory, string story);

    [LoggerMessage(EventId = 1001, Level = LogLevel.Information, Message = "etcd: now {Role}, leader {Leader}, term {Term}")]
    public static partial void LeaderChanged(ILogger logger, Role role, MemberId leader, Term term);

    [LoggerMessage(EventId = 1002, Level = LogLevel.Information, Message = "etcd: serving client requests on {Addresses}")]
    public static partial void Serving(ILogger logger, string addresses);

    [LoggerMessage(EventId = 1003, Level = LogLevel.Information, Message = "etcd: checkpoint at entry {Index}: {Bytes} bytes")]
    public static partial void CheckpointTaken(ILogger logger, ulong index, long bytes);

    [LoggerMessage(EventId = 1004, Level = LogLevel.Warning, Message = "etcd: a checkpoint failed; the log is kept, and it is tried again")]
    public static partial void CheckpointFailed(ILogger logger, Exception cause);

    [LoggerMessage(EventId = 1005, Level = LogLevel.Warning, Message = "etcd: {Used} bytes of the quota of {Quota} are used: writes are refused until there is space")]
    public static partial void NoSpace(ILogger logger, long used, long quota);

    [LoggerMessage(EventId = 1006, Level = LogLevel.Information, Message = "etcd: auto compaction at revision {Revision}")]
    public static partial void AutoCompacted(ILogger logger, long revision);

    [LoggerMessage(EventId = 1007, Level = LogLevel.Warning, Message = "etcd: auto compaction at revision {Revision} refused: {Reason}")]
    public static partial void AutoCompactionRefused(ILogger logger, long revision, string reason);

    [LoggerMessage(EventId = 1010, Level = LogLevel.Information, Message = "etcd: connected to peer {Member} ({Lane})")]
    public static partial void PeerConnected(ILogger logger, MemberId member, Lane lane);

    [LoggerMessage(EventId = 1011, Level = LogLevel.Warning, Message = "etcd: lost the connection to peer {Member} ({Lane}), trying again: {Reason}")]
    public static partial void PeerTrouble(ILogger logger, MemberId member, Lane lane, string reason);

    [LoggerMessage(EventId = 1012, Level = LogLevel.Information, Message = "etcd: sent a checkpoint of {Bytes} bytes to {Member}")]
    public static partial void SnapshotSent(ILogger logger, MemberId member, long bytes);

    [LoggerMessage(EventId = 1013, Level = LogLevel.Warning, Message = "etcd: a checkpoint for {Member} did not arrive, it is tried again: {Reason}")]
    public static partial void SnapshotRefused(ILogger logger, MemberId member, string reason);

    [LoggerMessage(EventId = 1014, Level = LogLevel.Information, Message = "etcd: the leader's checkpoint at entry {Index} replaced the store")]
    public static partial void CheckpointInstalled(ILogger logger, ulong index);

    [LoggerMessage(EventId = 1015, Level = LogLevel.Information, Message = "etcd: members are now {Members}")]
    public static partial void MembersChanged(ILogger logger, string members);

    [LoggerMessage(EventId = 1016, Level = LogLevel.Warning, Message = "etcd: refused peer {Member} on {Path}: {Reason}")]
    public static partial void PeerRefused(ILogger logger, string member, string path, string reason);

    [LoggerMessage(EventId = 1017, Level = LogLevel.Warning, Message = "etcd: a message of member {Member} was not taken: {Result}")]
    public static partial void MessageRefused(ILogger logger, MemberId member, StepResult result);

    [LoggerMessage(EventId = 1020, Level = LogLevel.Warning, Message = "etcd: slow disk: the log took {Seconds:F1} s for {Bytes} bytes, {AppendSeconds:F1} s of it before the flush")]
    public static partial void SlowDisk(ILogger logger, double seconds, long bytes, double appendSeconds);

    [LoggerMessage(EventId = 1021, Level = LogLevel.Warning, Message = "etcd: applying {Entries} entries took {Seconds:F1} s, {WaitSeconds:F1} s of it behind readers")]
    public static partial void SlowApply(ILogger logger, int entries, double seconds, double waitSeconds);

    [LoggerMessage(EventId = 1008, Level = LogLevel.Critical, Message = "etcd: this member cannot go on")]
    public static partial void Failed(ILogger logger, Exception cause);
}
