using Microsoft.Extensions.Logging;

namespace Kapell.Kubelet;

/// <summary>What the kubelet logs.</summary>
internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "{Namespace}/{Pod}: {Type} {Reason}: {Message}")]
    public static partial void PodEvent(ILogger log, string @namespace, string pod, string type, string reason, string message);

    [LoggerMessage(2, LogLevel.Information, "node: {Type} {Reason}: {Message}")]
    public static partial void NodeEvent(ILogger log, string type, string reason, string message);

    [LoggerMessage(3, LogLevel.Warning, "pod {Pod}: step failed, tried again in {Seconds} s: {Error}")]
    public static partial void StepFailed(ILogger log, string pod, double seconds, string error);

    [LoggerMessage(4, LogLevel.Warning, "{Task} failed: {Error}")]
    public static partial void TaskFailed(ILogger log, string task, string error);

    [LoggerMessage(5, LogLevel.Information, "kubelet serves on {Address}:{Port} as node {Node}, runtime {Runtime} {Version}")]
    public static partial void Serving(ILogger log, string address, int port, string node, string runtime, string version);

    [LoggerMessage(6, LogLevel.Information, "pod {Namespace}/{Pod} ({Uid}) is unknown to the API server: stopping what the runtime still runs of it")]
    public static partial void Orphan(ILogger log, string @namespace, string pod, string uid);

    [LoggerMessage(7, LogLevel.Debug, "status of {Pod}: {Status}")]
    public static partial void StatusSent(ILogger log, string pod, string status);

    [LoggerMessage(8, LogLevel.Information, "registered node {Node}")]
    public static partial void Registered(ILogger log, string node);
}
