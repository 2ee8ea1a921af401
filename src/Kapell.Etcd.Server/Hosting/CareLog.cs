using Kapell.Raft;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>What the server says of its care for the data: comparing, backing up, making room, letting members vote.</summary>
internal static partial class CareLog
{
    [LoggerMessage(EventId = 1070, Level = LogLevel.Critical, Message = "the members' content is not the same: {Difference}")]
    public static partial void MembersDiffer(ILogger logger, string difference);

    [LoggerMessage(EventId = 1071, Level = LogLevel.Warning, Message = "the alarm CORRUPT for {Member} could not be raised, it is tried again: {Reason}")]
    public static partial void AlarmNotRaised(ILogger logger, string member, string reason);

    [LoggerMessage(EventId = 1072, Level = LogLevel.Information, Message = "starting initial corruption check, when all up to entry {Committed} is applied")]
    public static partial void InitialCheckBegins(ILogger logger, LogIndex committed);

    [LoggerMessage(EventId = 1073, Level = LogLevel.Information, Message = "initial corruption checking passed; no corruption; compared with {Members} other members")]
    public static partial void InitialCheckPassed(ILogger logger, int members);

    [LoggerMessage(EventId = 1074, Level = LogLevel.Information, Message = "backup of revision {Revision} in {Directory}: {Bytes} bytes")]
    public static partial void BackupTaken(ILogger logger, long revision, string directory, long bytes);

    [LoggerMessage(EventId = 1075, Level = LogLevel.Error, Message = "backups to {Directory} fail, the store goes on without; tried again soon: {Reason}")]
    public static partial void BackupFailed(ILogger logger, string directory, string reason);

    [LoggerMessage(EventId = 1076, Level = LogLevel.Warning, Message = "the backup's log has a gap behind entry {Last}, entries go on at {Next}: a new backup is begun")]
    public static partial void BackupGap(ILogger logger, ulong last, ulong next);

    [LoggerMessage(EventId = 1077, Level = LogLevel.Information, Message = "backup {Directory} is older than the retention and deleted")]
    public static partial void BackupDeleted(ILogger logger, string directory);

    [LoggerMessage(EventId = 1078, Level = LogLevel.Information, Message = "asked to defragment: nothing to do, {Live} of {Held} bytes are in use and space comes back by itself")]
    public static partial void Defragmented(ILogger logger, long live, long held);

    [LoggerMessage(EventId = 1079, Level = LogLevel.Information, Message = "learner {Member} has caught up and becomes a voter")]
    public static partial void Promoting(ILogger logger, MemberId member);

    [LoggerMessage(EventId = 1080, Level = LogLevel.Warning, Message = "what is backed up from now on goes to {Directory}, as it does not join on to {Before}: {Reason}")]
    public static partial void BackupHistoryBegun(ILogger logger, string directory, string before, string reason);

    [LoggerMessage(EventId = 1081, Level = LogLevel.Warning, Message = "backup {Directory} is left as it is and never deleted: {Reason}")]
    public static partial void BackupUnreadable(ILogger logger, string directory, string reason);
}
