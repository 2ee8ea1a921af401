using System.Diagnostics;

namespace Kapell.Bench.Scale;

/// <summary>
/// Writes a little to a file of its own and flushes it, a few hundred times a second, and notes when that took so long that the disk stood still:
/// whoever wrote to it then, waited. On a disk that serves one request behind the other, as a virtual machine's, that is all who write to it.
/// </summary>
internal sealed class DiskWitness : IDisposable
{
    public const string Flag = "disk-witness";

    private const int WriteBytes = 400;

    /// <summary>Longer than the thread can be kept from running behind a flush that was quick, on two processors that are busy.</summary>
    private static readonly TimeSpan Slow = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan Nap = TimeSpan.FromMilliseconds(4);

    private readonly FlushedFile _file;
    private readonly Thread _thread;
    private readonly List<(long From, long To)> _stalls = []; // In order; guarded by itself.
    private volatile bool _isOver;

    /// <param name="path">On the disk of whoever is measured; must not be there.</param>
    public DiskWitness(string path)
    {
        _file = new FlushedFile(path, Flag);
        _thread = new Thread(Watch) { IsBackground = true, Name = "disk witness" };
        _thread.Start();
    }

    /// <summary>What it took, of all.</summary>
    public LatencyRecorder Flushes { get; } = new();

    /// <summary>The parts of a time, in timestamps, in which the disk stood still; in order, none overlaps another.</summary>
    public IReadOnlyList<(long From, long To)> Within(long from, long to)
    {
        lock (_stalls)
        {
            return [.. _stalls.Where(s => s.To > from && s.From < to).Select(s => (Math.Max(from, s.From), Math.Min(to, s.To)))];
        }
    }

    public void Dispose()
    {
        _isOver = true;
        _thread.Join();
        _file.Dispose();
    }

    private void Watch()
    {
        byte[] bytes = new byte[WriteBytes];
        while (!_isOver)
        {
            long begun = Stopwatch.GetTimestamp();
            _file.Append(bytes);
            long flushed = Stopwatch.GetTimestamp();
            Flushes.Record(begun);
            if (Stopwatch.GetElapsedTime(begun, flushed) >= Slow)
            {
                lock (_stalls)
                {
                    _stalls.Add((begun, flushed));
                }
            }

            Thread.Sleep(Nap);
        }
    }
}
