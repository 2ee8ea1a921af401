using System.Text.Json;
using Kapell.Base;
using Kapell.Etcd.Server.Logging;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace Kapell.Etcd.Tests.Logging;

public sealed class EtcdLogsTests
{
    private static readonly FakeTimeProvider Time = new(new DateTimeOffset(2026, 1, 31, 12, 0, 0, TimeSpan.Zero));

    [Fact]
    public void A_line_is_an_object_with_the_fields_that_collectors_read()
    {
        using StringWriter error = new();
        using EtcdLogs logs = new(new LogSettings(), Time, TextWriter.Null, error);
        logs.CreateLogger("etcd").Log(
            LogLevel.Warning, new EventId(1, "Said"), new Dictionary<string, object?> { ["MemberId"] = "8e9e", ["{OriginalFormat}"] = "x" }, null, static (_, _) => "it is \"so\"");
        JsonElement line = JsonDocument.Parse(error.ToString()).RootElement;
        Assert.Equal(
            ("warn", "2026-01-31T12:00:00.000000Z", "etcd/Said", "it is \"so\"", "8e9e"),
            (line.GetProperty("level").GetString(), line.GetProperty("ts").GetString(), line.GetProperty("caller").GetString(),
                line.GetProperty("msg").GetString(), line.GetProperty("member-id").GetString()));
        Assert.EndsWith("\n", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Numbers_are_numbers()
    {
        using StringWriter error = new();
        using EtcdLogs logs = new(new LogSettings(), Time, TextWriter.Null, error);
        logs.CreateLogger("etcd").Log(
            LogLevel.Warning, default, new Dictionary<string, object?> { ["SnapshotCount"] = 7UL, ["Seconds"] = double.NaN, ["IsSo"] = true }, null, static (_, _) => "");
        Assert.Contains("\"snapshot-count\":7,\"seconds\":\"NaN\",\"is-so\":true}", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Below_the_level_nothing_is_written()
    {
        using StringWriter error = new();
        using EtcdLogs logs = new(new LogSettings { Level = LogLevel.Error }, Time, TextWriter.Null, error);
        logs.CreateLogger("etcd").Log(LogLevel.Warning, default, "", null, static (_, _) => "no");
        Assert.Equal("", error.ToString());
    }

    [Theory]
    [InlineData("zap", "loud", "json", "default", "unrecognized level")]
    [InlineData("glog", "info", "json", "default", "unknown logger")]
    [InlineData("zap", "info", "xml", "default", "unknown log format")]
    [InlineData("zap", "info", "json", "default,stdout", "multi logoutput")]
    public void What_is_not_known_is_refused(string logger, string level, string format, string outputs, string reason) => Assert.Contains(
        reason, Assert.Throws<FlagException>(() => LogSettings.Parse(logger, level, format, outputs.Split(','), false, "{}")).Message, StringComparison.Ordinal);

    [Fact]
    public void A_full_file_is_put_aside_and_old_ones_go()
    {
        string directory = Directory.CreateTempSubdirectory("kapell-log").FullName;
        try
        {
            FakeTimeProvider time = new(new DateTimeOffset(2026, 1, 31, 12, 0, 0, TimeSpan.Zero));
            string path = Path.Combine(directory, "etcd.log");
            using (RotatingFile file = new(path, new LogRotation(10, TimeSpan.Zero, 2, LocalTime: false, Compress: true), time))
            {
                for (int i = 0; i < 5; i++)
                {
                    file.Write($"line {i}\n");
                    time.Advance(TimeSpan.FromSeconds(1));
                }
            }

            Assert.Equal("line 4\n", File.ReadAllText(path));
            string[] aside = [.. Directory.GetFiles(directory, "etcd-*").Order().Select(static p => Path.GetFileName(p))];
            Assert.Equal(["etcd-2026-01-31T12-00-03.000.log.gz", "etcd-2026-01-31T12-00-04.000.log.gz"], aside);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }
}
