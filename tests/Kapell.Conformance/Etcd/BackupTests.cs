using System.Globalization;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Backups of a store that is written to all the time, and what is restored from them.</summary>
public sealed class BackupTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_revision_and_a_time_are_restored_while_somebody_writes()
    {
        string backups = StoreProcess.NewDirectory();
        try
        {
            List<(long Revision, string Value, DateTimeOffset At, uint Hash)> written = [];
            using (StoreClient store = new(await StoreProcess.StartAsync(
                StoreKind.Kapell, Cancellation, null, "--backup-dir", backups, "--backup-interval", "2s", "--backup-retention", "1h")))
            {
                await WriteAsync(store, written, TimeSpan.FromSeconds(8));
                await UntilSafeAsync(store);
                store.Process.Kill();
            }

            Assert.True(Directory.GetDirectories(Assert.Single(Directory.GetDirectories(backups))).Length >= 3);
            foreach ((long revision, string value, DateTimeOffset at, uint hash) in ((int[])[2, 3, 4]).Select(part => written[written.Count / part]))
            {
                await RestoreAsync(backups, ["--to-revision", $"{revision}"], revision, value, hash);
                await RestoreAsync(backups, ["--to-time", at.ToString("o", CultureInfo.InvariantCulture)], revision, value, hash);
            }

            (long last, string newest, _, uint newestHash) = written[^1];
            await RestoreAsync(backups, [], last, newest, newestHash);
            (int code, string said) = await RestoreAsync(backups, StoreProcess.NewDirectory(), ["--to-revision", $"{last + 1000}"]);
            Assert.Equal(1, code);
            Assert.Contains($"revision {last + 1000} cannot be restored: the backups in {backups} end at revision {last}", said, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(backups, recursive: true);
        }
    }

    [Fact]
    public async Task What_is_older_than_the_retention_is_deleted()
    {
        string backups = StoreProcess.NewDirectory();
        try
        {
            using StoreClient store = new(await StoreProcess.StartAsync(
                StoreKind.Kapell, Cancellation, null, "--backup-dir", backups, "--backup-interval", "1s", "--backup-retention", "1s"));
            using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
            late.CancelAfter(TimeSpan.FromSeconds(60));
            for (int i = 0; !store.Process.Said.Contains("is older than the retention", StringComparison.Ordinal); i++)
            {
                await store.PutAsync("k", $"{i}");
                await Task.Delay(TimeSpan.FromMilliseconds(50), late.Token);
            }

            Assert.InRange(Directory.GetDirectories(Assert.Single(Directory.GetDirectories(backups))).Length, 1, 6);
        }
        finally
        {
            Directory.Delete(backups, recursive: true);
        }
    }

    private static async Task WriteAsync(StoreClient store, List<(long Revision, string Value, DateTimeOffset At, uint Hash)> written, TimeSpan length)
    {
        TimeProvider time = TimeProvider.System;
        long begun = time.GetTimestamp();
        for (int i = 0; time.GetElapsedTime(begun) < length; i++)
        {
            string value = $"value {i}";
            PutResponse put = await store.Kv.PutAsync(new PutRequest { Key = ByteString.CopyFromUtf8("now"), Value = ByteString.CopyFromUtf8(value) }, cancellationToken: Cancellation);
            HashKVResponse hash = await store.Maintenance.HashKVAsync(new HashKVRequest { Revision = put.Header.Revision }, cancellationToken: Cancellation);
            written.Add((put.Header.Revision, value, time.GetUtcNow(), hash.Hash));

            // So that the next write is later by a clock that only knows milliseconds: a delay of three may be over at once, for timers go
            // by one that moves every four.
            while (time.GetUtcNow().ToUnixTimeMilliseconds() <= written[^1].At.ToUnixTimeMilliseconds() + 1)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(1), Cancellation);
            }
        }
    }

    private static async Task UntilSafeAsync(StoreClient store)
    {
        long now = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds() + 1;
        const string name = "\nkapell_etcd_backup_reaches_seconds ";
        long reaches = 0;
        using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        late.CancelAfter(TimeSpan.FromSeconds(60));
        while (reaches <= now)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(100), late.Token);
            (_, string metrics) = await store.HttpGetAsync("/metrics");
            int at = metrics.IndexOf(name, StringComparison.Ordinal) + name.Length;
            reaches = long.Parse(metrics[at..metrics.IndexOf('\n', at)], CultureInfo.InvariantCulture);
        }
    }

    private static async Task RestoreAsync(string backups, string[] point, long revision, string value, uint hash)
    {
        string data = StoreProcess.NewDirectory();
        try
        {
            (int code, string said) = await RestoreAsync(backups, data, point);
            Assert.True(code == 0, said);
            Assert.Contains($"restored revision {revision} ", said, StringComparison.Ordinal);
            Assert.Contains($"hash {hash}, verified", said, StringComparison.Ordinal);
            using StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, data));
            RangeResponse found = await store.RangeAsync(new RangeRequest { Key = ByteString.CopyFromUtf8("now") });
            Assert.Equal((value, revision), (Assert.Single(found.Kvs).Value.ToStringUtf8(), found.Header.Revision));
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    private static Task<(int Code, string Said)> RestoreAsync(string backups, string data, string[] point) => ProgramRun.CompleteAsync(
        Programs.Kapell,
        ["etcdutl", "restore", "--from", backups, "--data-dir", data, "--initial-advertise-peer-urls", "http://127.0.0.1:2380", .. point],
        "", Cancellation);
}
