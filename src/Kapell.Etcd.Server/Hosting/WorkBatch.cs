namespace Kapell.Etcd.Server.Hosting;

/// <summary>Work that is better done once for many than once for each: a replica's turn, the flush of a connection.</summary>
internal interface IDeferred
{
    /// <summary>Does what has gathered. By the thread that ends the batch, which holds no lock.</summary>
    void Run();
}

/// <summary>
/// While one is open on a thread, what the requests of a read ask for is only noted there, and done at its end by that same thread: first the
/// turns, all proposals as one; then the flushes, all responses of a connection in one write. No other thread is woken for either.
/// </summary>
internal static class WorkBatch
{
    [ThreadStatic]
    private static State? _state;

    /// <summary>False when one is open already: then it is not for the caller to end it.</summary>
    public static bool TryBegin()
    {
        State state = _state ??= new State();
        if (state.IsOpen)
        {
            return false;
        }

        state.IsOpen = true;
        return true;
    }

    /// <summary>Does everything, and what comes of it, until nothing is left.</summary>
    public static void End()
    {
        State state = _state!;
        int flushed = 0;
        try
        {
            while (true)
            {
                if (state.Turns.Count > 0)
                {
                    IDeferred turn = state.Turns[^1];
                    state.Turns.RemoveAt(state.Turns.Count - 1);
                    turn.Run();
                }
                else if (flushed < state.Flushes.Count)
                {
                    state.Flushes[flushed++].Run(); // Who asked first is answered first.
                }
                else
                {
                    break;
                }
            }
        }
        finally
        {
            // Whatever happens: a batch that stays open would keep everything that this thread is asked for later.
            state.Flushes.RemoveRange(0, flushed);
            state.IsOpen = false;
        }
    }

    /// <summary>Notes it for the end of this thread's batch; false when there is none.</summary>
    public static bool TakesTurn(IDeferred work)
    {
        if (_state is not { IsOpen: true } state)
        {
            return false;
        }

        if (!state.Turns.Contains(work))
        {
            state.Turns.Add(work);
        }

        return true;
    }

    /// <summary>The same, after all turns. To be given once until it is run.</summary>
    public static bool TakesFlush(IDeferred work)
    {
        if (_state is not { IsOpen: true } state)
        {
            return false;
        }

        state.Flushes.Add(work);
        return true;
    }

    private sealed class State
    {
        public bool IsOpen { get; set; }

        public List<IDeferred> Turns { get; } = [];

        public List<IDeferred> Flushes { get; } = [];
    }
}
