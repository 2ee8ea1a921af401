using Kapell.Base;
using Kapell.Etcd.Server;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Kapell.Etcd.Tests.Flags;

/// <summary>What etcd 3.6 refuses, and what it takes.</summary>
public sealed class WrongFlagTests
{
    [Theory]
    [InlineData("max-request-bytes")]
    [InlineData("max-txn-ops")]
    [InlineData("snapshot-count")]
    [InlineData("auth-token-ttl")]
    [InlineData("snapshot-catchup-entries")]
    [InlineData("experimental-snapshot-catchup-entries")]
    [InlineData("heartbeat-interval")]
    [InlineData("election-timeout")]
    [InlineData("bcrypt-cost")]
    [InlineData("self-signed-cert-validity")]
    [InlineData("max-snapshots")]
    [InlineData("max-wals")]
    [InlineData("bootstrap-defrag-threshold-megabytes")]
    public void What_counts_is_never_below_zero(string flag)
    {
        Assert.Equal($"invalid value \"-1\" for flag -{flag}: parse error", Refusal($"--{flag}=-1"));
        Assert.Equal($"invalid value \"99999999999999999999\" for flag -{flag}: value out of range", Refusal($"--{flag}=99999999999999999999"));
    }

    [Theory]
    [InlineData("--max-concurrent-streams=-1", "invalid value \"-1\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \"-1\": invalid syntax")]
    [InlineData("--max-concurrent-streams=4294967296", "invalid value \"4294967296\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \"4294967296\": value out of range")]
    [InlineData("--auto-compaction-retention=-1h", "--auto-compaction-retention must not be negative (set to -1h)")]
    [InlineData("--auto-compaction-retention=-1", "error parsing CompactionRetention: time: missing unit in duration \"-1\"")]
    [InlineData("--corrupt-check-time -1s", "--corrupt-check-time must not be negative (set to -1s)")]
    [InlineData("--experimental-corrupt-check-time -1s", "--experimental-corrupt-check-time must not be negative (set to -1s)")]
    [InlineData("--watch-progress-notify-interval -1s", "--watch-progress-notify-interval must not be negative (set to -1s)")]
    [InlineData("--experimental-watch-progress-notify-interval -1s", "--experimental-watch-progress-notify-interval must not be negative (set to -1s)")]
    [InlineData("--compact-hash-check-time 0", "--compact-hash-check-time must be >0 (set to 0s)")]
    [InlineData("--experimental-compact-hash-check-time -1s", "--experimental-compact-hash-check-time must be >0 (set to -1s)")]
    [InlineData("--downgrade-check-time -1s", "--downgrade-check-time must be >=0 (set to -1s)")]
    [InlineData("--backend-batch-interval x", "invalid value \"x\" for flag -backend-batch-interval")]
    [InlineData("--auto-tls --self-signed-cert-validity 0", "selfSignedCertValidity is invalid,it should be greater than 0")]
    [InlineData("--peer-auto-tls --self-signed-cert-validity 0", "selfSignedCertValidity is invalid,it should be greater than 0")]
    [InlineData("--corrupt-check-time 1s --experimental-corrupt-check-time 1s", "cannot set --experimental-corrupt-check-time and --corrupt-check-time at the same time, please use --corrupt-check-time only")]
    [InlineData("--watch-progress-notify-interval 1s --experimental-watch-progress-notify-interval 1s", "please use --watch-progress-notify-interval only")]
    [InlineData("--snapshot-catchup-entries 1 --experimental-snapshot-catchup-entries 1", "please use --snapshot-catchup-entries only")]
    [InlineData("--distributed-tracing-address a:1 --experimental-distributed-tracing-address a:1", "please use --distributed-tracing-address only")]
    [InlineData("--compaction-batch-limit 1 --experimental-compaction-batch-limit 1", "please use --compaction-batch-limit only")]
    [InlineData(
        "--feature-gates InitialCorruptCheck=true --experimental-initial-corrupt-check",
        "cannot specify both flags: --experimental-initial-corrupt-check=true and --feature-gates=InitialCorruptCheck=true at the same time, please just use --feature-gates=InitialCorruptCheck=true")]
    [InlineData("--feature-gates LeaseCheckpoint=false --experimental-enable-lease-checkpoint=false", "cannot specify both flags: --experimental-enable-lease-checkpoint=false and")]
    [InlineData(
        "--listen-client-urls http://127.0.0.1:1,http://127.0.0.1:2 --advertise-client-urls http://127.0.0.1:1 --listen-client-http-urls http://127.0.0.1:2",
        "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url http://127.0.0.1:2")]
    [InlineData("--listen-client-urls http://127.0.0.1:99999", "invalid value \"http://127.0.0.1:99999\" for flag -listen-client-urls: address 99999: invalid port")]
    [InlineData("--listen-peer-urls http://[::1]:abc", "address abc: invalid port")]
    [InlineData("--data-dir k6 --wal-dir ./k6/", "--wal-dir and --data-dir are the same directory")]
    [InlineData("--auto-compaction-mode=", "undefined auto-compaction-mode")]
    [InlineData("--log-level loud", "unrecognized level: \"loud\"")]
    public void What_cannot_be_is_refused_with_the_reason(string line, string says) => Assert.Contains(says, Refusal(line), StringComparison.Ordinal);

    [Theory]
    [InlineData("0", 10_000)]
    [InlineData("0x10", 16)]
    [InlineData("010", 8)]
    [InlineData("0b11", 3)]
    [InlineData("1_000", 1000)]
    [InlineData("18446744073709551615", ulong.MaxValue)]
    public void A_number_is_read_as_in_Go_and_no_entries_between_checkpoints_are_the_default(string text, ulong entries) =>
        Assert.Equal(entries, Options($"--snapshot-count={text}").SnapshotCount);

    [Fact]
    public void What_is_odd_and_means_something_is_taken()
    {
        Assert.Equal(TimeSpan.FromMinutes(10), Options("--watch-progress-notify-interval=0").Limits.WatchProgressInterval);
        Assert.Equal(TimeSpan.FromSeconds(3), Options("--experimental-watch-progress-notify-interval=3s").Limits.WatchProgressInterval);
        Assert.Equal(int.MaxValue, Options("--max-txn-ops=4294967296").Limits.TxnOperationsMax);
        Assert.Equal(1, Options("--self-signed-cert-validity=0").SelfSignedYears);
        Assert.Contains(Options("--backend-batch-interval=-1s").Notices, static n => n.StartsWith("--backend-batch-interval has no effect", StringComparison.Ordinal));
        Assert.False(Options("--metrics=").MeasuresCalls);
        Assert.True(Options("--auto-compaction-retention=9999999999").CompactionPeriod > TimeSpan.FromDays(100_000));
    }

    [Theory]
    [InlineData("WARN", LogLevel.Warning)]
    [InlineData("wArn", LogLevel.Warning)]
    [InlineData("", LogLevel.Information)]
    [InlineData("DPANIC", LogLevel.Critical)]
    public void A_level_is_one_in_any_case(string text, LogLevel level)
    {
        EtcdFlags flags = new();
        flags.Parse(["--log-level", text], static _ => null);
        Assert.Equal(level, flags.Logs().Level);
    }

    private static string Refusal(string line) => Assert.Throws<FlagException>(() => Options(line)).Message;

    private static EtcdOptions Options(string line)
    {
        EtcdFlags flags = new();
        flags.Parse(line.Split(' '), static _ => null);
        flags.Logs();
        return flags.ToOptions();
    }
}
