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
internal sealed class ForwardedRenewals(Func<long[], Task<(EtcdError? Error, LeaseKeepAliveResponse[] Replies)>> ask)
{
    /// <summary>Leases that one request may be for.</summary>
    public const int Most = 4096;

    /// <summary>What such a request is long at most.</summary>
    public const int BytesMax = (Most * 10) + 16;

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

        // Not on this thread: what else its batch has for us comes first, and goes along.
        _ = Task.Run(AskAsync, CancellationToken.None);
        return one.Task.WaitAsync(cancellation);
    }

    private async Task AskAsync()
    {
        while (Take() is { Length: > 0 } some)
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
        }
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
