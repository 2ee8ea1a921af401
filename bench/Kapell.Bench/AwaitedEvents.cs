namespace Kapell.Bench;

/// <summary>The events of what each client wrote last: it is over when every watcher has its event.</summary>
internal sealed class AwaitedEvents(int clients, int watchers)
{
    private readonly Operation[] _operations = [.. Enumerable.Range(0, clients).Select(static _ => new Operation())];
    private Exception? _failure;

    /// <summary>Before the client writes; done when all watchers have the event. A client has one operation at a time.</summary>
    public Task Begin(int client)
    {
        TaskCompletionSource all = new();
        Operation operation = _operations[client];
        Volatile.Write(ref operation.All, all);
        Volatile.Write(ref operation.Missing, watchers);
        if (Volatile.Read(ref _failure) is { } failure)
        {
            all.TrySetException(failure);
        }

        return all.Task;
    }

    /// <summary>One watcher has the event of this client's operation.</summary>
    public void Delivered(int client)
    {
        Operation operation = _operations[client];
        if (Interlocked.Decrement(ref operation.Missing) == 0)
        {
            Volatile.Read(ref operation.All).TrySetResult();
        }
    }

    /// <summary>A watch is gone: each operation from now on says so, and nobody waits for ever.</summary>
    public void Failed(Exception failure)
    {
        Volatile.Write(ref _failure, failure);
        Array.ForEach(_operations, o => Volatile.Read(ref o.All).TrySetException(failure));
    }

    private sealed class Operation
    {
        public TaskCompletionSource All = new();
        public int Missing;
    }
}
