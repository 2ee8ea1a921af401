using Microsoft.Extensions.Logging;

namespace Kapell.Cli;

/// <summary>Everything that the executable itself logs.</summary>
internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Information, "asked for {Host}/{Repository}:{Reference}: {Answer}")]
    public static partial void ManifestAsked(ILogger log, string host, string repository, string reference, string answer);

    [LoggerMessage(2, LogLevel.Warning, "{Message}")]
    public static partial void ImageArchive(ILogger log, string message);
}
