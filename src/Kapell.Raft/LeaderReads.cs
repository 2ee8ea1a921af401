namespace Kapell.Raft;

/// <summary>Linearizable reads without a log entry (thesis §6.4): the leader proves by a round of heartbeats that it still leads.</summary>
internal sealed class LeaderReads(RaftCore core)
{
    private readonly ReadQueue _queue = new();

    // Reads that came before we committed anything in our term: until then our commit index may lie behind the cluster's.
    private readonly List<(MemberId From, ulong Context)> _early = [];

    private const int RoundsWaitingMax = 64;
    private int _roundsWaiting;

    // Positions of the queue: the newest that a heartbeat has carried, and that of the newest round which was begun for reads alone.
    private ulong _carried;
    private ulong _readRound;

    /// <summary>Rounds of heartbeats that were begun; never counts anew, so that one of an earlier term is not taken for a later one.</summary>
    public ulong Rounds { get; private set; }

    /// <summary>The newest of them that a majority has answered.</summary>
    public ulong ConfirmedRound { get; private set; }

    private bool HasCommittedInTerm => core.Log.TermAt(core.Log.Committed) == core.Term;

    public void Clear()
    {
        _queue.Clear();
        _early.Clear();
        _roundsWaiting = 0;
        _carried = 0;
        _readRound = 0;
    }

    /// <summary>False when too many wait already.</summary>
    public bool Request(MemberId from, ulong context)
    {
        if (_queue.Count - _roundsWaiting + _early.Count >= core.Config.PendingReadsMax)
        {
            return false;
        }

        if (!HasCommittedInTerm)
        {
            _early.Add((from, context));
            return true;
        }

        if (core.Members.State.IsSingleVoter)
        {
            // Nobody else can have been elected.
            Answer(new PendingRead(from, context, core.Log.Committed));
            return true;
        }

        _queue.Add(new PendingRead(from, context, core.Log.Committed));
        _queue.Acknowledge(core.Id, _queue.Position);
        BeginReadRound();
        return true;
    }

    /// <summary>The commit index moved.</summary>
    public void Committed()
    {
        if (_early.Count == 0 || !HasCommittedInTerm)
        {
            return;
        }

        List<(MemberId From, ulong Context)> early = [.. _early];
        _early.Clear();
        foreach ((MemberId from, ulong context) in early)
        {
            Request(from, context);
        }
    }

    public void Acknowledge(MemberId from, ulong position)
    {
        if (position == 0)
        {
            return;
        }

        _queue.Acknowledge(from, position);
        _queue.TakeConfirmed(core.Members).ForEach(Answer);
        BeginReadRound();
    }

    /// <summary>
    /// The clock's heartbeats. They take a place in the queue of reads, so that their answers say, too, that we led when they were sent.
    /// </summary>
    public void BeginRound()
    {
        if (!core.Members.State.IsSingleVoter && _roundsWaiting < RoundsWaitingMax)
        {
            _roundsWaiting++;
            _queue.Add(new PendingRead(MemberId.None, ++Rounds, default));
            _queue.Acknowledge(core.Id, _queue.Position);
        }

        BroadcastHeartbeat();
    }

    /// <summary>
    /// One round for reads is under way at a time, and what comes meanwhile shares the next: a round for each read would be a message to
    /// every member for each. The clock's rounds carry all that waits, so one whose answers are lost keeps nobody for longer than they take.
    /// </summary>
    private void BeginReadRound()
    {
        if (_readRound <= _queue.Confirmed && _carried < _queue.Position)
        {
            _readRound = _queue.Position;
            BroadcastHeartbeat();
        }
    }

    private void BroadcastHeartbeat()
    {
        ulong position = _queue.Position;
        _carried = Math.Max(_carried, position);
        foreach ((MemberId id, Progress progress) in core.Members.All)
        {
            if (id == core.Id)
            {
                continue;
            }

            // Never beyond what the member is known to have, or it would commit what differs.
            LogIndex commit = LogIndex.Min(progress.Match, core.Log.Committed);
            core.Send(new Heartbeat(core.Id, id, core.Term, commit, position));
            progress.SentCommit(commit);
        }
    }

    private void Answer(PendingRead read)
    {
        if (read.From.IsNone)
        {
            _roundsWaiting--;
            ConfirmedRound = read.Context;
            return;
        }

        if (read.From == core.Id)
        {
            core.ReadStates.Add(new ReadState(read.Context, read.Index));
            return;
        }

        core.Send(new ReadIndexResponse(core.Id, read.From, core.Term, read.Context, read.Index));
    }
}
