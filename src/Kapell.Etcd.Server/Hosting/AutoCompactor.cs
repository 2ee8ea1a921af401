using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>Compacts by itself when asked to: all but the newest N revisions, or what is older than a time. etcd: v3compactor</summary>
internal sealed class AutoCompactor(ReplicaHost host, EtcdOptions options, ILogger logger)
{
    private static readonly TimeSpan RevisionInterval = TimeSpan.FromMinutes(5);
    private readonly Queue<(DateTimeOffset At, long Revision)> _seen = new();

    public async Task RunAsync(CancellationToken cancellation)
    {
        if (options.CompactionPeriod <= TimeSpan.Zero && options.CompactionRevisions <= 0)
        {
            return;
        }

        // etcd: periodic.go: a tenth of the period, of an hour at most.
        TimeSpan tenth = TimeSpan.FromTicks(Math.Min(options.CompactionPeriod.Ticks, TimeSpan.TicksPerHour) / 10);
        TimeSpan interval = options.CompactionRevisions > 0 ? RevisionInterval : tenth;
        try
        {
            while (true)
            {
                await Task.Delay(interval, host.Time, cancellation);
                await CompactAsync(cancellation);
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // The member stops.
        }
    }

    private async Task CompactAsync(CancellationToken cancellation)
    {
        (long current, long compacted) = host.Reading(() => (host.Store.Revision, host.Store.CompactRevision));
        long target = options.CompactionRevisions > 0 ? current - options.CompactionRevisions : OlderThanPeriod(current);
        if (target <= compacted || target <= 0 || host.Replica.Raft.Leader != host.Replica.Raft.Id)
        {
            return;
        }

        ApplyOutcome outcome = await host.ProposeAsync(CommandKind.Compact, new CompactionRequest { Revision = target }, cancellation);
        if (outcome.Error is null)
        {
            Log.AutoCompacted(logger, target);
        }
        else if (outcome.Error != EtcdError.Compacted)
        {
            Log.AutoCompactionRefused(logger, target, outcome.Error.Text);
        }
    }

    private long OlderThanPeriod(long current)
    {
        DateTimeOffset now = host.Time.GetUtcNow();
        _seen.Enqueue((now, current));
        long target = 0;
        while (_seen.TryPeek(out (DateTimeOffset At, long Revision) oldest) && now - oldest.At >= options.CompactionPeriod)
        {
            _seen.Dequeue();
            target = oldest.Revision;
        }

        return target;
    }
}
