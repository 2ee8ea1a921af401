using System.Collections.Concurrent;

namespace Kapell.Mvcc;

/// <summary>
/// Huge pages that another thread takes from the system and touches before they are needed. The kernel clears a page when it is first
/// touched, and a virtual machine may have to ask its host for it as well: 4 ms and more for each, two thirds of a start with ten million
/// keys, and in a store that serves, a wait for everybody. Whoever finds none ready takes one by itself, so that two clear in place of one
/// waiting.
/// </summary>
/// <param name="beside">Runs a piece of the work on another thread; pieces are short, so that they hold up nothing else there.</param>
internal sealed unsafe class PagesAhead(Func<Action, Task> beside)
{
    private const int SystemPageBytes = 4096;

    private readonly ConcurrentQueue<nint> _ready = new();
    private Task _running = Task.CompletedTask;
    private volatile int _wanted;

    /// <summary>A page that was touched, or null; its owner frees it with <see cref="HugePages.Free"/>.</summary>
    /// <param name="wanted">How many are to be ready for the calls to come.</param>
    public void* TryTake(int wanted)
    {
        bool taken = _ready.TryDequeue(out nint page);
        _wanted = wanted;
        if (_running.IsCompleted && _ready.Count <= wanted / 2)
        {
            _running.GetAwaiter().GetResult();
            _running = beside(Fill);
        }

        return taken ? (void*)page : null;
    }

    /// <summary>Gives back all but so many.</summary>
    public void Keep(int count)
    {
        _wanted = count;
        ((IAsyncResult)_running).AsyncWaitHandle.WaitOne();
        while (_ready.Count > count && _ready.TryDequeue(out nint page))
        {
            HugePages.Free((void*)page);
        }
    }

    private void Fill()
    {
        while (_ready.Count < _wanted)
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
