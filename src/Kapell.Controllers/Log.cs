using Microsoft.Extensions.Logging;

namespace Kapell.Controllers;

internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "started {Count} controllers: {Names}")]
    public static partial void Started(ILogger log, int count, string names);

    [LoggerMessage(2, LogLevel.Warning, "{Controller}: {Message}")]
    public static partial void Trouble(ILogger log, string controller, string message);

    [LoggerMessage(3, LogLevel.Information, "{Controller}: {Message}")]
    public static partial void Note(ILogger log, string controller, string message);
}
