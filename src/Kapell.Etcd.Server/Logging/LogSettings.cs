using System.Text.Json;
using Kapell.Base;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Logging;

/// <summary>What a member logs, how, and where to. etcd: embed/config_logging.go</summary>
internal sealed record LogSettings
{
    public LogLevel Level { get; init; } = LogLevel.Information;

    /// <summary>Objects of JSON; otherwise columns.</summary>
    public bool Json { get; init; } = true;

    /// <summary>"stderr", "stdout", "default", or paths of files.</summary>
    public IReadOnlyList<string> Outputs { get; init; } = ["default"];

    /// <summary>Null: files grow without end.</summary>
    public LogRotation? Rotation { get; init; }

    /// <exception cref="FlagException">A value is none of the known ones, or they contradict each other.</exception>
    public static LogSettings Parse(string logger, string level, string format, IReadOnlyList<string> outputs, bool rotates, string rotation)
    {
        if (logger is not ("zap" or "capnslog"))
        {
            throw new FlagException($"unknown logger option \"{logger}\"");
        }

        if (format is not ("" or "json" or "console"))
        {
            throw new FlagException($"unknown log format: {format}, supported values json, console");
        }

        if (outputs.Count > 1 && outputs.Contains("default"))
        {
            throw new FlagException("multi logoutput for \"default\" is not supported yet");
        }

        if (outputs.Contains("systemd/journal"))
        {
            throw new FlagException("log output systemd/journal is not supported: a service's standard error is in the journal already");
        }

        bool hasFile = outputs.Any(static o => o is not ("default" or "stderr" or "stdout"));
        if (rotates && !hasFile)
        {
            throw new FlagException("log rotation requires a file output in --log-outputs");
        }

        return new LogSettings
        {
            Level = LevelOf(level),
            Json = format != "console" && logger == "zap",
            Outputs = outputs.Count > 0 ? [.. outputs.Distinct()] : ["default"],
            Rotation = rotates ? LogRotation.Parse(rotation) : null,
        };
    }

    // zap: Level.UnmarshalText: in any case, and none is info.
    private static LogLevel LevelOf(string name) => name.ToLowerInvariant() switch
    {
        "debug" => LogLevel.Debug,
        "" or "info" => LogLevel.Information,
        "warn" => LogLevel.Warning,
        "error" => LogLevel.Error,
        "dpanic" or "panic" or "fatal" => LogLevel.Critical,
        _ => throw new FlagException($"unrecognized level: \"{name}\""),
    };
}

/// <summary>When a log file is put aside, and how many of those stay. etcd: embed/config_logging.go setupLogRotation</summary>
/// <param name="BytesMax">Of one file.</param>
/// <param name="AgeMax">Older ones go; zero: never by age.</param>
/// <param name="BackupsMax">More than this go; zero: never by number.</param>
/// <param name="LocalTime">Names of files have the machine's time instead of UTC.</param>
/// <param name="Compress">Files put aside are gzipped.</param>
internal sealed record LogRotation(long BytesMax, TimeSpan AgeMax, int BackupsMax, bool LocalTime, bool Compress)
{
    private const long Megabyte = 1024 * 1024;
    private const int DaysMax = 36_500;

    /// <exception cref="FlagException">It is no JSON, or a number is out of range.</exception>
    public static LogRotation Parse(string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            JsonElement root = document.RootElement;
            long size = Number(root, "maxsize");
            return new LogRotation(
                (size == 0 ? 100 : size) * Megabyte, TimeSpan.FromDays(Number(root, "maxage")), Number(root, "maxbackups"), Bool(root, "localtime"), Bool(root, "compress"));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            throw new FlagException($"invalid log rotation config: {e.Message}");
        }
    }

    private static int Number(JsonElement root, string name)
    {
        int value = root.TryGetProperty(name, out JsonElement element) ? element.GetInt32() : 0;
        return value is >= 0 and <= DaysMax ? value : throw new FlagException($"invalid log rotation config: {name} is {value}");
    }

    private static bool Bool(JsonElement root, string name) => root.TryGetProperty(name, out JsonElement element) && element.GetBoolean();
}
