using Google.Protobuf;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Proxies.Leasing;

/// <summary>
/// The keys of one proxy, with who waits for which. Says of none what it holds after the lease may have ended, while it is being changed
/// or once it was asked back. Safe for concurrent use; sends nothing.
/// </summary>
internal sealed class LeasedKeys(TimeProvider time)
{
    /// <summary>What is read once and never again must not fill the proxy, nor the store with leasing keys.</summary>
    public const int KeysMax = 65_536;
    public const long BytesMax = 256 << 20;

    /// <summary>A key that was asked back is left to those who write it for so long. etcd: client/v3/leasing/cache.go revokeBackoff</summary>
    public static readonly TimeSpan Backoff = TimeSpan.FromSeconds(2);

    private readonly Lock _gate = new();
    private readonly Dictionary<ByteString, LeasedKey> _keys = [];
    private readonly Dictionary<ByteString, long> _askedBack = [];
    private readonly Dictionary<ByteString, Waiter> _waiters = [];
    private long _bytes;
    private long _validUntil; // A time stamp.

    /// <summary>What is asked for with it belongs to the lease; 0 while there is none.</summary>
    public long Lease { get; private set; }

    /// <summary>A new lease, or the same one longer.</summary>
    /// <param name="lease">Its number.</param>
    /// <param name="until">A time stamp at which it lasts for certain.</param>
    public void Renew(long lease, long until)
    {
        lock (_gate)
        {
            (Lease, _validUntil) = (lease, until);
            long now = time.GetTimestamp();
            foreach ((ByteString key, long at) in _askedBack)
            {
                if (time.GetElapsedTime(at, now) > Backoff)
                {
                    _askedBack.Remove(key);
                }
            }
        }
    }

    /// <summary>There is no lease any more.</summary>
    public void End()
    {
        lock (_gate)
        {
            Lease = 0;
            _keys.Clear();
            _bytes = 0;
        }
    }

    /// <summary>What the key holds, as a range of it alone with nothing left out. Busy: ask again when that has ended. Neither: it is not known here.</summary>
    public (RangeResponse? Answer, Task? Busy) Read(ByteString key)
    {
        lock (_gate)
        {
            return !_keys.TryGetValue(key, out LeasedKey? found) || Lease == 0 || time.GetTimestamp() >= _validUntil ? default
                : found.Busy is { } busy ? (null, busy.Task) : (found.Answer, null);
        }
    }

    /// <summary>What all of the keys hold at one time. Busy: ask again when that has ended. Neither: not all are known here.</summary>
    public (IReadOnlyDictionary<ByteString, RangeResponse>? Answers, Task? Busy) Read(IReadOnlyCollection<ByteString> wanted)
    {
        Dictionary<ByteString, RangeResponse> answers = [];
        lock (_gate)
        {
            foreach (ByteString key in wanted)
            {
                (RangeResponse? answer, Task? busy) = Read(key);
                if (answer is null)
                {
                    return (null, busy);
                }

                answers[key] = answer;
            }
        }

        return (answers, null);
    }

    /// <summary>The key, for the caller alone until <see cref="Release"/>, to be acquired; null: it must not be, or somebody else is at it.</summary>
    public LeasedKey? Begin(ByteString key)
    {
        lock (_gate)
        {
            long now = time.GetTimestamp();
            if (Lease == 0 || now >= _validUntil || _keys.Count >= KeysMax || _bytes >= BytesMax || _keys.ContainsKey(key)
                || (_askedBack.TryGetValue(key, out long at) && time.GetElapsedTime(at, now) <= Backoff))
            {
                return null;
            }

            LeasedKey begun = new(key) { Busy = NewBusy() };
            _keys.Add(key, begun);
            _bytes += key.Length;
            return begun;
        }
    }

    /// <summary>The key, if it is one of these, for the caller alone until <see cref="Release"/>.</summary>
    public async Task<LeasedKey?> LockAsync(ByteString key, CancellationToken cancellation)
    {
        while (true)
        {
            Task busy;
            lock (_gate)
            {
                if (!_keys.TryGetValue(key, out LeasedKey? found))
                {
                    return null;
                }

                if (found.Busy is null)
                {
                    found.Busy = NewBusy();
                    return found;
                }

                busy = found.Busy.Task;
            }

            await busy.WaitAsync(cancellation);
        }
    }

    /// <summary>The end of what <see cref="Begin"/> or <see cref="LockAsync"/> gave.</summary>
    /// <param name="key">Which.</param>
    /// <param name="answer">What it holds now; null: it is none of these any more.</param>
    /// <returns>Whether it is still one of these: it may have been asked back meanwhile.</returns>
    public bool Release(LeasedKey key, RangeResponse? answer)
    {
        lock (_gate)
        {
            bool stays = answer is not null && _keys.TryGetValue(key.Key, out LeasedKey? found) && found == key;
            if (stays)
            {
                _bytes += SizeOf(answer) - SizeOf(key.Answer);
                key.Answer = answer;
            }
            else if (_keys.TryGetValue(key.Key, out LeasedKey? own) && own == key)
            {
                Take(key);
            }

            TaskCompletionSource busy = key.Busy!;
            key.Busy = null;
            busy.SetResult();
            return stays;
        }
    }

    /// <summary>It is none of these from now on, and for a while.</summary>
    public void GiveUp(ByteString key)
    {
        lock (_gate)
        {
            if (_keys.TryGetValue(key, out LeasedKey? found))
            {
                Take(found);
            }

            if (_askedBack.Count < KeysMax)
            {
                _askedBack[key] = time.GetTimestamp();
            }
        }
    }

    /// <summary>Ends when the leasing key of the key is gone. To be given back with <see cref="Leave"/>.</summary>
    public Task Await(ByteString key)
    {
        lock (_gate)
        {
            if (!_waiters.TryGetValue(key, out Waiter? waiter))
            {
                _waiters.Add(key, waiter = new Waiter());
            }

            waiter.Users++;
            return waiter.Gone.Task;
        }
    }

    public void Leave(ByteString key)
    {
        lock (_gate)
        {
            if (_waiters.TryGetValue(key, out Waiter? waiter) && --waiter.Users == 0)
            {
                _waiters.Remove(key);
            }
        }
    }

    /// <summary>The leasing key of the key was deleted at the revision.</summary>
    public void Gone(ByteString key, long revision)
    {
        Lost(key, revision);
        lock (_gate)
        {
            if (_waiters.TryGetValue(key, out Waiter? waiter))
            {
                waiter.Gone.TrySetResult();
                waiter.Gone = NewBusy();
            }
        }
    }

    /// <summary>A leasing key that was made before the revision, or just now, is not this proxy's any more.</summary>
    public void Lost(ByteString key, long revision)
    {
        lock (_gate)
        {
            if (_keys.TryGetValue(key, out LeasedKey? found) && found.Since < revision)
            {
                Take(found);
            }
        }
    }

    private static TaskCompletionSource NewBusy() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static int SizeOf(RangeResponse? answer) => answer is { Kvs.Count: > 0 } ? answer.Kvs[0].Value.Length : 0;

    private void Take(LeasedKey key)
    {
        _keys.Remove(key.Key);
        _bytes -= key.Key.Length + SizeOf(key.Answer);
    }

    private sealed class Waiter
    {
        public int Users { get; set; }

        public TaskCompletionSource Gone { get; set; } = NewBusy();
    }
}
