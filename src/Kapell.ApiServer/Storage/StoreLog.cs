using Microsoft.Extensions.Logging;

namespace Kapell.ApiServer.Storage;

/// <summary>What the storage side says to the operator.</summary>
internal static class StoreLog
{
    public static readonly Action<ILogger, string, Exception?> MirrorBroken =
        LoggerMessage.Define<string>(LogLevel.Warning, new EventId(4102, "MirrorBroken"), "the watch on the store ended, reading everything again: {Why}");

    public static readonly Action<ILogger, string, string, Exception?> Unreadable = LoggerMessage.Define<string, string>(
        LogLevel.Error, new EventId(4103, "Unreadable"), "the stored object {Key} is not readable and is left out: {Why}");
}
