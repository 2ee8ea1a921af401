using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Peers;

/// <summary>
/// Renewals of leases that clients ask of a member that follows. One request to the leader is under way at a time, and it is for all that were
/// asked for when it began: the more clients there are, the less does a renewal cost either member. etcd: a request each.
/// </summary>
/// <param name="ask">
/// Asks the leader: the replies in the order of the leases; an error with which to try again when it does not lead, or did not answer.
/// Must end within a bound of time.
/// </param>
internal sealed class ForwardedRenewals(Func<long[], Task<(EtcdError? Error, LeaseKeepAliveResponse[] Replies)>> ask) : IDeferred
{
    /// <summary>Leases that one request may be for.</summary>
    public const int Most = 4096;

    /// <summary>What such a request, or its answer with a reason, is long at most.</summary>
    public const int BytesMax = (Most * 10) + 512;

    private readonly Lock _lock = new(); // Guards the two below.
    private readonly List<Waiting> _waiting = [];
    private bool _asking;

    /// <summary>The reply, or the error of the request.</summary>
    public Task<(EtcdError? Error, LeaseKeepAliveResponse? Reply)> RenewAsync(long id, CancellationToken cancellation)
    {
        Waiting one = new(id);
        lock (_lock)
        {
            _waiting.Add(one);
            if (_asking)
            {
                return one.Task.WaitAsync(cancellation);
            }

            _asking = true;
        }

        Begin();
        return one.Task.WaitAsync(cancellation);
    }

    /// <summary>By the thread that ends the batch, or one of the pool.</summary>
    void IDeferred.Run()
    {
        Waiting[] some = Take();
        if (some.Length > 0)
        {
            _ = AskAsync(some);
        }
    }

    // At the end of this thread's batch: what else it has for us comes first, and goes along.
    private void Begin()
    {
        if (!WorkBatch.TakesTurn(this))
        {
            ThreadPool.UnsafeQueueUserWorkItem(static renewals => ((IDeferred)renewals).Run(), this, preferLocal: false);
        }
    }

    private async Task AskAsync(Waiting[] some)
    {
        try
        {
            (EtcdError? error, LeaseKeepAliveResponse[] replies) = await ask(Array.ConvertAll(some, static w => w.Id));
            Tell(some, error, replies);
        }
        catch (Exception e)
        {
            // Whoever waits is told, and those who come later are asked for.
            Array.ForEach(some, w => w.TrySetException(e));
        }

        Begin();
    }

    private Waiting[] Take()
    {
        lock (_lock)
        {
            int count = Math.Min(_waiting.Count, Most);
            Waiting[] some = [.. _waiting[..count]];
            _waiting.RemoveRange(0, count);
            _asking = count > 0;
            return some;
        }
    }

    // What follows is short, and goes out as one batch.
    private static void Tell(Waiting[] some, EtcdError? error, LeaseKeepAliveResponse[] replies)
    {
        bool batch = WorkBatch.TryBegin();
        for (int i = 0; i < some.Length; i++)
        {
            some[i].TrySetResult((error, error is null ? replies[i] : null));
        }

        if (batch)
        {
            WorkBatch.End();
        }
    }

    private sealed class Waiting(long id) : TaskCompletionSource<(EtcdError? Error, LeaseKeepAliveResponse? Reply)>
    {
        public long Id => id;
    }
}
