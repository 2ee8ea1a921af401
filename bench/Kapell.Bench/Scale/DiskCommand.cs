using System.Diagnostics;
using System.Globalization;
using Kapell.Base;

namespace Kapell.Bench.Scale;

/// <summary>
/// What is left of a steady load's latencies when there is no store: at the same rate, something is written to a file and flushed, all that
/// waits in one go. No store that syncs what it acknowledges has a better tail on that disk.
/// </summary>
internal static class DiskCommand
{
    private const int BatchMax = 1024;

    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, CancellationToken cancellation)
    {
        FlagSet flags = new("Kapell.Bench disk", """
            Writes to a file at a steady rate and flushes it, all that waits in one go, and prints from when each write was due to when it was
            on the disk: what a store's latency under that load cannot fall below. The file is made, and deleted at the end.
            """);
        FlagValue<string> file = flags.String("file", "kapell-bench.tmp", "file to write, on the disk that is measured");
        FlagValue<int> rate = flags.Int("rate", 1000, "writes a second, due whether or not the last are on the disk");
        FlagValue<int> size = flags.Int("size", 400, "bytes of a write");
        FlagValue<TimeSpan> duration = flags.Duration("duration", TimeSpan.FromSeconds(30), "length of the load");
        flags.Examples.Add("Kapell.Bench disk --file /var/lib/etcd/bench.tmp --duration 1m");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            await output.WriteLineAsync(flags.Help());
            return 0;
        }

        if (rate.Value is < 1 or > 100_000 || size.Value is < 1 or > 16384 || duration.Value <= TimeSpan.Zero)
        {
            throw new FlagException("--rate must be 1 to 100000, --size 1 to 16384, --duration above zero");
        }

        LatencyRecorder latency = new();
        using (FlushedFile target = new(file.Value, "file"))
        {
            await Task.Factory.StartNew(
                () => Write(target, rate.Value, size.Value, duration.Value, latency, cancellation),
                cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        }

        await output.WriteLineAsync(string.Create(
            CultureInfo.InvariantCulture, $"{latency.Total()} writes of {size.Value} bytes at {rate.Value}/s in {duration.Value.TotalSeconds:F0} s"));
        await latency.WriteAsync(output);
        return 0;
    }

    private static void Write(
        FlushedFile target, int rate, int size, TimeSpan duration, LatencyRecorder latency, CancellationToken cancellation)
    {
        byte[] batch = new byte[size * BatchMax];
        long begin = Stopwatch.GetTimestamp();
        long written = 0;
        while (Stopwatch.GetElapsedTime(begin) < duration)
        {
            int due = (int)Math.Min(BatchMax, (long)(Stopwatch.GetElapsedTime(begin).TotalSeconds * rate) - written);
            if (due <= 0)
            {
                cancellation.ThrowIfCancellationRequested();
                Thread.Sleep(TimeSpan.FromMilliseconds(1));
                continue;
            }

            target.Append(batch.AsSpan(0, due * size));
            for (; due > 0; due--)
            {
                written++;
                latency.Record(begin + (long)((double)written / rate * Stopwatch.Frequency));
            }
        }
    }
}
