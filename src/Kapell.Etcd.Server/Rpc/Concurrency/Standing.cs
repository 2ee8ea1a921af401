using Google.Protobuf;

namespace Kapell.Etcd.Server.Rpc.Concurrency;

/// <summary>
/// The calls of this member that stand for a key of a lock or an election, which is one for all calls with the same lease. Who gives up
/// removes the key only as the last that stands for it, and who comes meanwhile waits until it is gone: else a client that asks again after
/// its time limit would find the key of its first call, be told that it holds, and lose it to the removal. (With etcd it does.)
/// </summary>
internal sealed class Standing
{
    private readonly Lock _lock = new();
    private readonly Dictionary<ByteString, Key> _keys = [];

    /// <summary>Before the key is looked for or put.</summary>
    public async Task<Candidate> BeginAsync(ByteString name, CancellationToken cancellation)
    {
        while (true)
        {
            Task removal;
            lock (_lock)
            {
                if (!_keys.TryGetValue(name, out Key? key))
                {
                    key = new Key(name);
                    _keys.Add(name, key);
                }

                if (key.Removal is null)
                {
                    key.Calls++;
                    return new Candidate(this, key);
                }

                removal = key.Removal.Task;
            }

            await removal.WaitAsync(cancellation);
        }
    }

    private void End(Key key)
    {
        lock (_lock)
        {
            Leave(key);
        }
    }

    private void Hold(Key key)
    {
        lock (_lock)
        {
            key.Held = true;
        }
    }

    private async Task GiveUpAsync(Key key, Func<Task> remove)
    {
        lock (_lock)
        {
            if (key.Held || key.Calls > 1)
            {
                Leave(key);
                return;
            }

            key.Removal = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        try
        {
            await remove();
        }
        finally
        {
            End(key);
            key.Removal.SetResult();
        }
    }

    private void Leave(Key key)
    {
        if (--key.Calls == 0)
        {
            _keys.Remove(key.Name);
        }
    }

    /// <summary>One call that stands for a key.</summary>
    internal sealed class Candidate(Standing standing, Key key) : IDisposable
    {
        private bool _over;

        /// <summary>The call is answered: the key is its client's, and no other call takes it away.</summary>
        public void Won() => standing.Hold(key);

        /// <summary>Removes the key, if nobody else here stands for it.</summary>
        public Task GiveUpAsync(Func<Task> remove)
        {
            _over = true;
            return standing.GiveUpAsync(key, remove);
        }

        public void Dispose()
        {
            if (!_over)
            {
                _over = true;
                standing.End(key);
            }
        }
    }

    internal sealed class Key(ByteString name)
    {
        public ByteString Name => name;

        public int Calls { get; set; }

        public bool Held { get; set; }

        public TaskCompletionSource? Removal { get; set; }
    }
}
