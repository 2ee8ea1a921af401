using Microsoft.Extensions.Logging;

namespace Kapell.ApiServer.Http;

/// <summary>What the request path says to the operator.</summary>
internal static class HttpLog
{
    public static readonly Action<ILogger, string, string, Exception?> Failed = LoggerMessage.Define<string, string>(
        LogLevel.Error, new EventId(4001, "RequestFailed"), "a request failed inside the server: {Verb} {Path}");

    public static readonly Action<ILogger, string, string, Exception?> HookFailed = LoggerMessage.Define<string, string>(
        LogLevel.Warning, new EventId(4002, "HookFailed"), "start-up step {Name} failed and is tried again: {Why}");

    public static readonly Action<ILogger, string, Exception?> BackgroundFailed = LoggerMessage.Define<string>(
        LogLevel.Error, new EventId(4003, "BackgroundFailed"), "background task {Name} failed and is started again");

    public static readonly Action<ILogger, string, Exception?> Serving = LoggerMessage.Define<string>(
        LogLevel.Information, new EventId(4004, "Serving"), "serving on {Address}");
}
