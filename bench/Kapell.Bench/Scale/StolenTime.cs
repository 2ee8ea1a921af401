using System.Diagnostics;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kapell.Bench.Scale;

/// <summary>
/// What time of each processor the machine that this one runs on gave to others, as the kernel counts it (proc_stat(5), steal): to ten
/// milliseconds, of which many in a row are a stall that no program here can do anything about.
/// </summary>
internal sealed class StolenTime : IDisposable
{
    private const string Path = "/proc/stat";
    private const int Steal = 8; // Words after the processor's name.
    private const int BufferBytes = 16384; // The processors come first.
    private const int KeptMax = 1_000_000;
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(10); // USER_HZ
    private static readonly TimeSpan Nap = TimeSpan.FromMilliseconds(8);

    private readonly List<(long At, long Ticks)>[] _stolen; // Whenever it has grown; each guarded by itself.
    private readonly Thread _thread;
    private volatile bool _isOver;

    /// <param name="processors">How many are looked at.</param>
    public StolenTime(int processors)
    {
        _stolen = [.. Enumerable.Range(0, processors).Select(static _ => new List<(long, long)>())];
        _thread = new Thread(Watch) { IsBackground = true, Name = "stolen time" };
        _thread.Start();
    }

    /// <summary>What of a time, in timestamps, a processor was not given; no more than all of it.</summary>
    public long Within(int processor, long from, long to)
    {
        List<(long At, long Ticks)> stolen = _stolen[processor];
        lock (stolen)
        {
            return Math.Min(to - from, stolen.Where(s => s.At > from && s.At <= to).Sum(static s => s.Ticks));
        }
    }

    /// <summary>Of all processors together, until now.</summary>
    public TimeSpan Total => Stopwatch.GetElapsedTime(0, _stolen.Sum(static stolen =>
    {
        lock (stolen)
        {
            return stolen.Sum(static s => s.Ticks);
        }
    }));

    public void Dispose()
    {
        _isOver = true;
        _thread.Join();
    }

    private void Watch()
    {
        if (!File.Exists(Path))
        {
            return; // Not Linux: nothing is said of it.
        }

        using SafeFileHandle file = File.OpenHandle(Path);
        byte[] buffer = new byte[BufferBytes];
        long[] before = Read(file, buffer);
        while (!_isOver)
        {
            Thread.Sleep(Nap);
            long[] now = Read(file, buffer);
            long at = Stopwatch.GetTimestamp();
            for (int p = 0; p < now.Length; p++)
            {
                if (now[p] > before[p])
                {
                    lock (_stolen[p])
                    {
                        if (_stolen[p].Count < KeptMax)
                        {
                            _stolen[p].Add((at, (now[p] - before[p]) * (long)(Tick.TotalSeconds * Stopwatch.Frequency)));
                        }
                    }
                }
            }

            before = now;
        }
    }

    private long[] Read(SafeFileHandle file, byte[] buffer)
    {
        string text = Encoding.ASCII.GetString(buffer, 0, RandomAccess.Read(file, buffer, 0));
        long[] stolen = new long[_stolen.Length];
        foreach (string line in text.Split('\n').Where(static l => l.StartsWith("cpu", StringComparison.Ordinal)))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length > Steal && int.TryParse(words[0].AsSpan(3), NumberStyles.None, CultureInfo.InvariantCulture, out int processor) && processor < stolen.Length)
            {
                stolen[processor] = long.Parse(words[Steal], CultureInfo.InvariantCulture);
            }
        }

        return stolen;
    }
}
