using System.Collections.Concurrent;
using System.Diagnostics;
using Kapell.Base;
using Microsoft.Win32.SafeHandles;

namespace Kapell.Faults.World;

/// <summary>
/// Makes the way to one member long: its end of the cable is taken off the bridge, a TAP interface takes its place, and every frame
/// waits its time between the two. Stands in for a netem qdisc, which not every kernel has.
/// </summary>
internal sealed class DelayRelay : IDisposable
{
    private const int FrameBytesMax = 10 + 65_600;
    private readonly List<Thread> _threads = [];
    private readonly SafeFileHandle _tap;
    private readonly SafeFileHandle _cable;
    private volatile bool _stopping;

    public DelayRelay(string tapName, int cableIndex, TimeSpan delay, Prng prng)
    {
        _tap = Native.OpenTap(tapName);
        _cable = Native.OpenPackets(cableIndex);
        Carry(_tap, _cable, delay, prng.Split());
        Carry(_cable, _tap, delay, prng.Split());
    }

    public void Dispose()
    {
        _stopping = true;
        _threads.ForEach(static t => t.Join());
        _cable.Dispose();
        _tap.Dispose();
    }

    // Jitter never lets one frame overtake another: TCP would take that for loss.
    private void Carry(SafeFileHandle from, SafeFileHandle to, TimeSpan delay, Prng prng)
    {
        BlockingCollection<(long Due, byte[] Frame)> waiting = new(4096);
        Begin(() =>
        {
            byte[] buffer = new byte[FrameBytesMax];
            long last = 0;
            while (!_stopping)
            {
                int length = Native.CanRead(from) ? Native.ReadFrame(from, buffer) : 0;
                if (length > 0)
                {
                    last = Math.Max(last, Stopwatch.GetTimestamp() + (long)(delay.TotalSeconds * (0.75 + (prng.NextDouble() / 2)) * Stopwatch.Frequency));
                    waiting.TryAdd((last, buffer[..length]));
                }
            }

            waiting.CompleteAdding();
        });
        Begin(() =>
        {
            foreach ((long due, byte[] frame) in waiting.GetConsumingEnumerable())
            {
                TimeSpan rest = Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), due);
                if (rest > TimeSpan.Zero && !_stopping)
                {
                    Thread.Sleep(rest);
                }

                Native.WriteFrame(to, frame);
            }

            waiting.Dispose();
        });
    }

    private void Begin(Action work)
    {
        Thread thread = new(() => work()) { IsBackground = true };
        thread.Start();
        _threads.Add(thread);
    }
}
