using Microsoft.Extensions.Logging;

namespace Kapell.Scheduler;

/// <summary>Everything that the scheduler logs.</summary>
internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "pod {Pod} bound to node {Node}")]
    public static partial void Bound(ILogger log, string pod, string node);

    [LoggerMessage(2, LogLevel.Warning, "binding pod {Pod} to node {Node} failed: {Why}")]
    public static partial void BindingFailed(ILogger log, string pod, string node, string why);

    [LoggerMessage(3, LogLevel.Information, "no node for pod {Pod}: {Why}")]
    public static partial void NoNode(ILogger log, string pod, string why);

    [LoggerMessage(4, LogLevel.Warning, "the condition of pod {Pod} could not be written: {Why}")]
    public static partial void StatusFailed(ILogger log, string pod, string why);
}
