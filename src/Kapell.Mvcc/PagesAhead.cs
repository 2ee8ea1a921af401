using System.Collections.Concurrent;

namespace Kapell.Mvcc;

/// <summary>
/// Huge pages that another thread takes from the system and touches before they are needed. The kernel clears a page when it is first
/// touched, and a virtual machine may have to ask its host for it as well: 4 ms for each, two thirds of a start with ten million keys.
/// Whoever finds none ready takes one by itself, so that two clear in place of one waiting.
/// </summary>
/// <param name="beside">Runs a piece of the work on another thread; pieces are short, so that they hold up nothing else there.</param>
internal sealed unsafe class PagesAhead(Func<Action, Task> beside)
{
    /// <summary>64 MiB: what one thread takes while the other was not given the processor for a moment.</summary>
    private const int ReadyMax = 32;

    private const int SystemPageBytes = 4096;

    private readonly ConcurrentQueue<nint> _ready = new();
    private Task _running = Task.CompletedTask;
    private volatile bool _ending;

    /// <summary>A page that was touched, or null; its owner frees it with <see cref="HugePages.Free"/>.</summary>
    public void* TryTake()
    {
        bool taken = _ready.TryDequeue(out nint page);
        if (_running.IsCompleted && _ready.Count < ReadyMax / 2)
        {
            _running.GetAwaiter().GetResult();
            _running = beside(Fill);
        }

        return taken ? (void*)page : null;
    }

    /// <summary>Gives back what nobody took.</summary>
    public void End()
    {
        _ending = true;
        ((IAsyncResult)_running).AsyncWaitHandle.WaitOne();
        while (_ready.TryDequeue(out nint page))
        {
            HugePages.Free((void*)page);
        }
    }

    private void Fill()
    {
        while (!_ending && _ready.Count < ReadyMax)
        {
            byte* page = (byte*)HugePages.Allocate(HugePages.Bytes, advise: true);
            for (int at = 0; at < HugePages.Bytes; at += SystemPageBytes)
            {
                Volatile.Write(ref page[at], 0);
            }

            _ready.Enqueue((nint)page);
        }
    }
}
