using Microsoft.Extensions.Logging;

namespace Kapell.Client;

internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Debug, "{Verb} {Url}: attempt {Attempt} was put off by the server for {Seconds} s")]
    public static partial void Retrying(ILogger log, string verb, string url, int attempt, double seconds);

    [LoggerMessage(2, LogLevel.Warning, "{Resource}: list or watch failed, trying again in {Milliseconds} ms: {Reason}")]
    public static partial void ReflectorFailed(ILogger log, string resource, double milliseconds, string reason);

    [LoggerMessage(3, LogLevel.Debug, "{Resource}: version {Version} is too old, listing again")]
    public static partial void ReflectorExpired(ILogger log, string resource, string version);

    [LoggerMessage(4, LogLevel.Error, "{Resource}: a handler failed on {Key}")]
    public static partial void HandlerFailed(ILogger log, Exception exception, string resource, string key);

    [LoggerMessage(5, LogLevel.Warning, "{Controller}: {Key} failed, trying again (failure {Count}): {Reason}")]
    public static partial void ReconcileFailed(ILogger log, string controller, string key, int count, string reason);

    [LoggerMessage(6, LogLevel.Debug, "{Controller}: {Key} met a newer version, trying again")]
    public static partial void ReconcileConflict(ILogger log, string controller, string key);

    [LoggerMessage(7, LogLevel.Information, "successfully acquired lease {Lease}")]
    public static partial void LeaseAcquired(ILogger log, string lease);

    [LoggerMessage(8, LogLevel.Warning, "lost lease {Lease}")]
    public static partial void LeaseLost(ILogger log, string lease);

    [LoggerMessage(9, LogLevel.Information, "new leader elected: {Identity}")]
    public static partial void NewLeader(ILogger log, string identity);

    [LoggerMessage(10, LogLevel.Warning, "lease {Lease}: {Reason}")]
    public static partial void LeaseFailed(ILogger log, string lease, string reason);

    [LoggerMessage(11, LogLevel.Warning, "an event could not be recorded: {Reason}")]
    public static partial void EventFailed(ILogger log, string reason);

    [LoggerMessage(12, LogLevel.Error, "{Controller}: {Key} failed unexpectedly, trying again")]
    public static partial void ReconcileBroke(ILogger log, Exception exception, string controller, string key);
}
