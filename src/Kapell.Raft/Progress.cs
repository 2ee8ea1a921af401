using Kapell.Base;

namespace Kapell.Raft;

/// <summary>How the leader feeds a member (etcd-io/raft: tracker/state.go).</summary>
public enum ProgressState : byte
{
    /// <summary>One message at a time, until it is known where the logs agree.</summary>
    Probe,

    /// <summary>Optimistic: many messages on their way.</summary>
    Replicate,

    /// <summary>Waits for a checkpoint to arrive there.</summary>
    Snapshot,
}

/// <summary>What the leader knows of one member. Invariant: Match &lt; Next.</summary>
internal sealed class Progress
{
    private readonly Queue<(LogIndex Last, long Bytes)> _inflight = new();
    private readonly int _inflightMax;
    private readonly long _inflightBytesMax;
    private long _inflightBytes;
    private LogIndex _sentCommit;
    private bool _paused;

    public Progress(LogIndex next, bool isLearner, int inflightMax, long inflightBytesMax)
    {
        Next = LogIndex.Max(next, new LogIndex(1));
        IsLearner = isLearner;
        (_inflightMax, _inflightBytesMax) = (inflightMax, inflightBytesMax);
    }

    /// <summary>The member's log equals ours up to here, durably there.</summary>
    public LogIndex Match { get; private set; }

    /// <summary>The next index to send.</summary>
    public LogIndex Next { get; private set; }

    public ProgressState State { get; private set; }

    public LogIndex PendingSnapshot { get; private set; }

    /// <summary>Heard from since the last look of check-quorum.</summary>
    public bool RecentActive { get; set; }

    public bool IsLearner { get; set; }

    public bool InflightFull => _inflight.Count >= _inflightMax || _inflightBytes >= _inflightBytesMax;

    public bool IsPaused => State == ProgressState.Snapshot || _paused;

    /// <summary>Starts anew, at the beginning of a term.</summary>
    public void Reset(LogIndex match, LogIndex next)
    {
        Enter(ProgressState.Probe);
        Match = match;
        Next = LogIndex.Max(next, match.Next());
        RecentActive = false;
        _sentCommit = LogIndex.Zero;
    }

    public void BecomeProbe()
    {
        // A checkpoint on its way counts as received: the probe starts behind it and is rejected if that is wrong.
        LogIndex from = State == ProgressState.Snapshot ? LogIndex.Max(Match, PendingSnapshot) : Match;
        Enter(ProgressState.Probe);
        Next = from.Next();
        _sentCommit = LogIndex.Min(_sentCommit, from);
    }

    public void BecomeReplicate()
    {
        Enter(ProgressState.Replicate);
        Next = Match.Next();
    }

    public void BecomeSnapshot(LogIndex snapshot)
    {
        Enter(ProgressState.Snapshot);
        PendingSnapshot = snapshot;
        Next = snapshot.Next();
        _sentCommit = snapshot;
    }

    public void SnapshotFailed()
    {
        PendingSnapshot = LogIndex.Zero;
        BecomeProbe();
        _paused = true;
    }

    public void SnapshotSent()
    {
        BecomeProbe();
        // Wait for its answer, or for a heartbeat's, before probing.
        _paused = true;
    }

    public void Sent(int entries, long bytes, LogIndex commit)
    {
        if (State == ProgressState.Replicate && entries > 0)
        {
            Next += (ulong)entries;
            _inflight.Enqueue((Next.Previous(), bytes));
            _inflightBytes += bytes;
        }

        _paused = State == ProgressState.Replicate ? InflightFull : _paused || entries > 0;
        SentCommit(commit);
    }

    public void SentCommit(LogIndex commit) => _sentCommit = commit;

    /// <summary>Whether a message with this commit index would tell the member something new.</summary>
    public bool CanBumpCommit(LogIndex commit) => commit > _sentCommit && _sentCommit < Next.Previous();

    /// <summary>The member has everything up to <paramref name="index"/>; false when that is old news.</summary>
    public bool TryUpdate(LogIndex index)
    {
        if (index <= Match)
        {
            return false;
        }

        Match = index;
        Next = LogIndex.Max(Next, index.Next());
        _paused = false;
        return true;
    }

    /// <summary>The member has no entry like ours at <paramref name="rejected"/>; false when that is old news.</summary>
    public bool TryDecrease(LogIndex rejected, LogIndex hint)
    {
        if (State == ProgressState.Replicate)
        {
            if (rejected <= Match)
            {
                return false;
            }

            Next = Match.Next();
            _sentCommit = LogIndex.Min(_sentCommit, Match);
            return true;
        }

        // One probe is out at a time, so only its rejection counts.
        if (Next.Previous() != rejected)
        {
            return false;
        }

        Next = LogIndex.Max(LogIndex.Min(rejected, hint.Next()), Match.Next());
        Check.That(Next > Match);
        _sentCommit = LogIndex.Min(_sentCommit, Next.Previous());
        _paused = false;
        return true;
    }

    public void FreeInflightTo(LogIndex index)
    {
        while (_inflight.TryPeek(out (LogIndex Last, long Bytes) first) && first.Last <= index)
        {
            _inflight.Dequeue();
            _inflightBytes -= first.Bytes;
        }
    }

    /// <summary>A sign of life: one more message may go.</summary>
    public void Resume() => _paused = false;

    private void Enter(ProgressState state)
    {
        State = state;
        PendingSnapshot = LogIndex.Zero;
        _paused = false;
        _inflight.Clear();
        _inflightBytes = 0;
    }
}
