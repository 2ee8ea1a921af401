namespace Kapell.Client.Queues;

/// <summary>
/// A queue of keys for workers (client-go: workqueue). A key is in it at most once however often it is added; a key that is being
/// worked on is never given to a second worker, and when it was added meanwhile it comes again after <see cref="Done"/>.
/// </summary>
/// <remarks>
/// Every <see cref="GetAsync"/> that gave a key must be followed by <see cref="Done"/>. Order is first in, first out among ready keys.
/// Safe for concurrent use. Not bounded by a number, but by the number of distinct keys.
/// </remarks>
public sealed class WorkQueue<TKey> : IDisposable
    where TKey : notnull
{
    private static readonly TimeSpan RetryMin = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan RetryMax = TimeSpan.FromSeconds(1000);
    private readonly Lock _gate = new(); // around every field below
    private readonly Queue<TKey> _ready = new();
    private readonly HashSet<TKey> _dirty = [];
    private readonly HashSet<TKey> _processing = [];
    private readonly Dictionary<TKey, int> _failures = [];
    private readonly Dictionary<TKey, DateTimeOffset> _delayed = [];
    private readonly PriorityQueue<TKey, DateTimeOffset> _delayedOrder = new();
    private readonly Queue<TaskCompletionSource<bool>> _waiters = new();
    private readonly TimeProvider _time;
    private readonly ITimer _timer;
    private bool _shutDown;

    public WorkQueue(TimeProvider time)
    {
        _time = time;
        _timer = time.CreateTimer(_ => ReleaseDue(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Keys ready to be taken.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _ready.Count;
            }
        }
    }

    public void Add(TKey key)
    {
        lock (_gate)
        {
            AddLocked(key);
        }
    }

    /// <summary>Adds later; of several pending delays for one key the earliest counts.</summary>
    public void AddAfter(TKey key, TimeSpan delay)
    {
        lock (_gate)
        {
            if (_shutDown)
            {
                return;
            }

            if (delay <= TimeSpan.Zero)
            {
                AddLocked(key);
                return;
            }

            DateTimeOffset due = _time.GetUtcNow() + delay;
            if (_delayed.TryGetValue(key, out DateTimeOffset pending) && pending <= due)
            {
                return;
            }

            _delayed[key] = due;
            _delayedOrder.Enqueue(key, due);
            SetTimerLocked();
        }
    }

    /// <summary>Adds after a wait that doubles with each call for this key: 5 ms to 1000 s, until <see cref="Forget"/>.</summary>
    public void AddRateLimited(TKey key)
    {
        TimeSpan wait;
        lock (_gate)
        {
            int failures = _failures.GetValueOrDefault(key);
            _failures[key] = failures + 1;
            wait = failures >= 18 ? RetryMax : RetryMin * Math.Pow(2, failures);
        }

        AddAfter(key, wait < RetryMax ? wait : RetryMax);
    }

    /// <summary>The key succeeded, or will not be tried again: its next failure waits 5 ms.</summary>
    public void Forget(TKey key)
    {
        lock (_gate)
        {
            _failures.Remove(key);
        }
    }

    public int Failures(TKey key)
    {
        lock (_gate)
        {
            return _failures.GetValueOrDefault(key);
        }
    }

    /// <summary>The next key; <c>Ok</c> is false when the queue is shut down and empty.</summary>
    public async ValueTask<(bool Ok, TKey Key)> GetAsync(CancellationToken cancellation)
    {
        while (true)
        {
            TaskCompletionSource<bool> waiter;
            lock (_gate)
            {
                if (_ready.TryDequeue(out TKey? key))
                {
                    _dirty.Remove(key);
                    _processing.Add(key);
                    return (true, key);
                }

                if (_shutDown)
                {
                    return (false, default!);
                }

                waiter = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
                _waiters.Enqueue(waiter);
            }

            try
            {
                await waiter.Task.WaitAsync(cancellation);
            }
            catch (OperationCanceledException)
            {
                PassOn(waiter);
                throw;
            }
        }
    }

    public void Done(TKey key)
    {
        lock (_gate)
        {
            _processing.Remove(key);
            if (_dirty.Contains(key))
            {
                _ready.Enqueue(key);
                WakeOneLocked();
            }
        }
    }

    /// <summary>Nothing more is added; waiting workers get what is left and then end.</summary>
    public void ShutDown()
    {
        lock (_gate)
        {
            _shutDown = true;
            while (_waiters.TryDequeue(out TaskCompletionSource<bool>? waiter))
            {
                waiter.TrySetResult(true);
            }
        }
    }

    public void Dispose()
    {
        ShutDown();
        _timer.Dispose();
    }

    private void AddLocked(TKey key)
    {
        if (_shutDown || !_dirty.Add(key) || _processing.Contains(key))
        {
            return;
        }

        _ready.Enqueue(key);
        WakeOneLocked();
    }

    // A waiter that was woken and cancelled at once must not swallow the wake-up.
    private void PassOn(TaskCompletionSource<bool> waiter)
    {
        lock (_gate)
        {
            if (!waiter.TrySetCanceled() && _ready.Count > 0)
            {
                WakeOneLocked();
            }
        }
    }

    private void WakeOneLocked()
    {
        while (_waiters.TryDequeue(out TaskCompletionSource<bool>? waiter))
        {
            if (waiter.TrySetResult(true))
            {
                return;
            }
        }
    }

    private void ReleaseDue()
    {
        lock (_gate)
        {
            DateTimeOffset now = _time.GetUtcNow();
            while (_delayedOrder.TryPeek(out TKey? key, out DateTimeOffset due) && due <= now)
            {
                _delayedOrder.Dequeue();
                if (_delayed.TryGetValue(key, out DateTimeOffset current) && current == due)
                {
                    _delayed.Remove(key);
                    AddLocked(key);
                }
            }

            SetTimerLocked();
        }
    }

    private void SetTimerLocked()
    {
        if (!_shutDown && _delayedOrder.TryPeek(out _, out DateTimeOffset due))
        {
            TimeSpan wait = due - _time.GetUtcNow();
            // A millisecond up: a timer may fire a little early, and must then not spin.
            _timer.Change(wait > TimeSpan.Zero ? wait + TimeSpan.FromMilliseconds(1) : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        }
    }
}
