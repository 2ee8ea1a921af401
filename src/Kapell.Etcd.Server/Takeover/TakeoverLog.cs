using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>What a takeover says on its way.</summary>
internal static partial class TakeoverLog
{
    [LoggerMessage(EventId = 1090, Level = LogLevel.Information, Message = "{Directory} was written by etcd: taking it over ({Bytes} bytes of database)")]
    public static partial void Begins(ILogger logger, string directory, long bytes);

    [LoggerMessage(EventId = 1091, Level = LogLevel.Warning, Message = "taking over: {Remark}")]
    public static partial void Remark(ILogger logger, string remark);

    [LoggerMessage(
        EventId = 1092, Level = LogLevel.Information,
        Message = "taking over: read member {Member} of cluster {Cluster} at revision {Revision}, compacted at {CompactRevision}; applied up to entry {Applied}, "
            + "{Entries} entries after it, committed up to {Commit}, term {Term}")]
    public static partial void Read(
        ILogger logger, string member, string cluster, long revision, long compactRevision, ulong applied, int entries, ulong commit, ulong term);

    [LoggerMessage(EventId = 1093, Level = LogLevel.Information, Message = "taking over: wrote the checkpoint at entry {Index} and {Entries} entries of the log")]
    public static partial void Written(ILogger logger, ulong index, int entries);

    [LoggerMessage(EventId = 1094, Level = LogLevel.Information, Message = "taken over from etcd; its files are kept in {Places}, delete them when they are not needed any more")]
    public static partial void Done(ILogger logger, string places);

    [LoggerMessage(EventId = 1095, Level = LogLevel.Information, Message = "taking over: a start before this one was interrupted and is brought to its end")]
    public static partial void Resumed(ILogger logger);

    [LoggerMessage(
        EventId = 1096, Level = LogLevel.Warning,
        Message = "taken over: this member cannot talk to members that still run etcd: all {Members} members must be stopped and started as kapell, each on its own directory")]
    public static partial void AllMustMove(ILogger logger, int members);
}
