using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Metrics;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Raft.Encoding;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Role = Kapell.Raft.Role;

namespace Kapell.Sim.World;

/// <summary>
/// One life of a member: the product's replica, log, loader and receiver of checkpoints on a disk in memory, with the clock of the
/// simulation in place of threads. What ReplicaHost, LogWriter and CheckpointTaker do beside <see cref="ReplicaTurns"/> is only when.
/// </summary>
internal sealed class MemberProcess : IReplicaDuties
{
    private readonly Simulation _sim;
    private readonly SimMember _member;
    private readonly Prng _prng;
    private readonly IDisk _disk;
    private readonly ReplicaSettings _settings;
    private readonly LoadedReplica _loaded;
    private readonly SnapshotReceiver _receiver;
    private readonly Queue<Action> _held = new();
    private readonly long _clockOffset;
    private readonly long _clockDrift;
    private List<Ready> _toWrite = [];
    private bool _writing;
    private ulong _releaseBelow;
    private LogIndex _lastCheckpoint;
    private CheckpointJob? _checkpoint;
    private ulong _nextRequest;
    private bool _removed;

    public MemberProcess(Simulation sim, SimMember member)
    {
        (_sim, _member, _prng) = (sim, member, member.Prng.Split());
        _disk = sim.Breakage.DiskAcknowledgesBeforeSync ? new LyingDisk(member.Disk) : member.Disk;
        _settings = new ReplicaSettings
        {
            DataDirectory = "/m",
            Founding = member.Founding,
            SegmentBytes = sim.Options.SegmentBytes,
            TickMilliseconds = Simulation.TickMilliseconds,
            PromoteLearnersAfter = TimeSpan.FromMilliseconds(sim.Breakage.PromotesAtOnce && sim.Options.PromoteAfterMilliseconds > 0 ? 1 : sim.Options.PromoteAfterMilliseconds),
            Retention = sim.Options.Retention,
        };
        _clockOffset = _prng.NextInt(1, 1_000_000);
        _clockDrift = sim.Options.ClockDriftMillionths == 0 ? 0 : _prng.NextInt(-sim.Options.ClockDriftMillionths, sim.Options.ClockDriftMillionths + 1);
        _nextRequest = _prng.NextUInt64() | 1;
        _loaded = ReplicaLoader.Load(_disk, _settings, _prng.Split(), sim.AdjustRaft);
        Turns = new ReplicaTurns(Replica, this, firstRead: sim.Breakage.ReadsCountFromOne ? 1 : _prng.NextUInt64());
        _lastCheckpoint = Replica.AppliedPosition.Index;

        // What is measured by the clock of this machine decides nothing.
        _receiver = new SnapshotReceiver(
            _disk, _settings.CheckpointDirectory, Replica.ClusterId, new MemberTimes(TimeProvider.System), TimeProvider.System);
        _receiver.CleanUp();
    }

    public int Number => _member.Number;

    public Replica Replica => _loaded.Replica;

    public ReplicaTurns Turns { get; }

    public MvccStore Store => Replica.Applier.Store;

    public bool Ended { get; private set; }

    public bool Paused { get; private set; }

    /// <summary>Questions that this process has not answered; they are lost with it.</summary>
    public List<Checks.Operation> Questions { get; } = [];

    public bool Leads => !Ended && Replica.Raft.Role == Role.Leader;

    /// <summary>Work is under way beside the replica: writing, or a checkpoint.</summary>
    public bool IsBusy => _writing || _checkpoint is not null;

    /// <summary>By its own clock, which began anywhere and runs a little fast or slow.</summary>
    public long NowMilliseconds => _clockOffset + ((_sim.Agenda.Now + (_sim.Agenda.Now / 1_000_000 * _clockDrift)) / 1000);

    public void Start()
    {
        if (_sim.Breakage.AppliesAgainAfterRestart && !_loaded.IsNew)
        {
            _sim.ApplyLastAgain(Number, Replica);
        }

        if (!_loaded.IsNew)
        {
            _sim.Checks.Restarted(this);
        }

        _sim.Agenda.In(_prng.NextInt(0, Simulation.TickMilliseconds * 1000), Tick);
        Input(static () => { });
    }

    /// <summary>Something comes in: the replica's own turn follows. While the process is paused it waits.</summary>
    public void Input(Action input)
    {
        if (Ended)
        {
            return;
        }

        if (Paused)
        {
            _held.Enqueue(input);
            return;
        }

        try
        {
            Replica.SetTime(LeaseClock());
            input();
            Turns.Work();
        }
        catch (IOException)
        {
            // The product stops its process on any failure of the disk; somebody starts it again.
            End();
        }
        catch (Exception e) when (e is not SimulationFailedException)
        {
            throw _sim.Fail($"member {Number} stopped: {e.Message}", e);
        }

        if (_removed)
        {
            _member.IsRemoved = true;
            End();
        }
    }

    public void Pause() => Paused = true;

    public void Resume()
    {
        if (!Paused || Ended)
        {
            return;
        }

        Paused = false;
        while (!Paused && _held.TryDequeue(out Action? input))
        {
            Input(input);
        }
    }

    /// <summary>The process is gone, and with it everything in memory. The disk is another matter.</summary>
    public void End()
    {
        if (!Ended)
        {
            Ended = true;
            Turns.RefuseAll(EtcdError.Stopped);
            Questions.ToList().ForEach(static q => q.Set((EtcdError?)EtcdError.Stopped));
            _checkpoint?.Abandon();
            Replica.Dispose();
        }
    }

    public Proposal NewProposal(CommandKind kind, Google.Protobuf.IMessage request, IOutcome<ApplyOutcome> outcome, Mvcc.Auth.Caller caller = default)
    {
        ulong id = _nextRequest++;
        Command command = new(id, kind, request) { Caller = caller };
        return new Proposal(id, command.Encode(), outcome) { Command = command };
    }

    public void Change(ConfChangeKind kind, int number, Member? entry, IOutcome<ApplyOutcome> outcome)
    {
        ulong id = _nextRequest++;
        ConfChange change = ConfChange.Of(kind, new MemberId((ulong)number), new MembershipContext(id, entry).Encode());
        Turns.Propose(new Proposal(id, change.Encode(), outcome) { Change = change });
    }

    public void Receive(byte[] bytes)
    {
        if (!RaftCodec.TryDecode(bytes, out Message? message))
        {
            throw _sim.Fail($"member {Number} cannot read a message of another");
        }

        Message taken = _sim.Breakage.Takes?.Invoke(message!) ?? message!;
        Input(() =>
        {
            if (Turns.Step(taken) == StepResult.Malformed)
            {
                throw _sim.Fail($"member {Number} finds malformed: {taken}");
            }
        });
    }

    void IReplicaDuties.Send(IReadOnlyList<Message> messages)
    {
        foreach (Message message in messages)
        {
            int to = (int)message.To.Value;
            if (message is InstallSnapshot snapshot)
            {
                SendCheckpoint(snapshot, to);
                continue;
            }

            byte[] bytes = RaftCodec.Encode(message);
            _sim.Network.Carry(Number, to, once: message is ForwardedProposal, () => _sim.Member(to)?.Process?.Receive(bytes), () => Unreachable(message.To));
        }
    }

    void IReplicaDuties.Write(Ready ready)
    {
        _sim.Checks.Appended(this, ready);
        _toWrite.Add(ready);
        if (!_writing)
        {
            _writing = true;
            After(_sim.DiskDelay(_prng, flush: false), WriteBatch);
        }
    }

    void IReplicaDuties.Own(Action work) => work();

    void IReplicaDuties.Apply(IReadOnlyList<Entry> entries)
    {
        foreach (Entry entry in entries)
        {
            Entry taken = _sim.Breakage.Applies?.Invoke(Number, entry) ?? entry;
            long before = Store.LogEnd;
            Replica.Apply([taken], Turns);
            _sim.Checks.Applied(this, entry, before);
        }

        ConsiderCheckpoint();
    }

    void IReplicaDuties.Installed(CheckpointHead head)
    {
        _lastCheckpoint = new LogIndex(head.Index);
        _releaseBelow = head.Index + 1;
        _sim.Trace($"{Number} installed {head.Index}");
        _sim.Checks.Installed(this);
        if (_sim.Breakage.InstallsTwice)
        {
            Replica.Install(head, Store);
        }
    }

    void IReplicaDuties.LeaderChanged(SoftState soft) => _sim.Checks.LeaderChanged(this, soft);

    void IReplicaDuties.MembersChanged() => _removed |= Replica.Applier.Members.Removed.Contains((ulong)Number);

    private long LeaseClock() => NowMilliseconds + (Replica.Raft.Role == Role.Leader ? _sim.Agenda.Now / 1000 * _sim.Breakage.LeaseClockPercent / 100 : 0);

    private void Tick()
    {
        if (Ended)
        {
            return;
        }

        // A timer that could not fire while the process stood still fires once.
        if (!Paused || _held.Count == 0)
        {
            Input(() => Turns.Tick(LeaseClock()));
            ConsiderCheckpoint();
        }

        _sim.Agenda.In((Simulation.TickMilliseconds * 1000) - (Simulation.TickMilliseconds * _clockDrift / 1000), Tick);
    }

    private void After(long microseconds, Action action) => _sim.Agenda.In(microseconds, () => Input(action));

    private void Unreachable(MemberId to)
    {
        if (_prng.Chance(0.3))
        {
            After(_prng.NextInt(0, 50_000), () => Replica.Raft.ReportUnreachable(to));
        }
    }

    private void WriteBatch()
    {
        List<Ready> batch = _toWrite;
        _toWrite = [];
        (bool sync, _) = LogBatch.Append(_loaded.Log, _loaded.LogHead, batch);
        After(_sim.DiskDelay(_prng, flush: true), () =>
        {
            if (sync)
            {
                _loaded.Log.Sync();
            }

            if (_loaded.Log.IsHalfFull && _prng.Chance(0.5))
            {
                _loaded.Log.PrepareSpare();
            }

            After(_prng.NextInt(0, 100), () => Turns.Persisted(batch[^1].Number));
            WriteMore();
        });
    }

    private void WriteMore()
    {
        if (_toWrite.Count > 0)
        {
            After(_sim.DiskDelay(_prng, flush: false), WriteBatch);
            return;
        }

        _writing = false;
        if (_releaseBelow > 0)
        {
            _loaded.Log.ReleaseBelow(_releaseBelow);
            _releaseBelow = 0;
        }
    }

    private void ConsiderCheckpoint()
    {
        bool due = Replica.AppliedPosition.Index.Value >= _lastCheckpoint.Value + _sim.Options.CheckpointEntries;
        if (_checkpoint is null && (due || Replica.Raft.CheckpointWanted))
        {
            TakeCheckpoint();
        }
    }

    /// <summary>Begins a checkpoint now; its pieces are written between everything else.</summary>
    public void TakeCheckpoint()
    {
        if (_checkpoint is null && !Ended && Replica.AppliedPosition.Index > _lastCheckpoint)
        {
            _checkpoint = new CheckpointJob(_disk, _settings.CheckpointDirectory, Replica);
            Replica.CheckpointBegun();
            After(_prng.NextInt(0, 5000), ContinueCheckpoint);
        }
    }

    private void ContinueCheckpoint()
    {
        CheckpointJob job = _checkpoint!;
        if (job.Step())
        {
            After(_prng.NextInt(0, 20_000), ContinueCheckpoint);
            return;
        }

        After(_prng.NextInt(0, 2000), () =>
        {
            _lastCheckpoint = job.Metadata.Index;
            Replica.CheckpointTaken(job.Metadata);
            After(_prng.NextInt(0, 2000), () =>
            {
                _checkpoint = null;
                CheckpointFile.DeleteOld(_disk, _settings.CheckpointDirectory, keep: 2);
                _releaseBelow = Math.Max(_releaseBelow, job.Metadata.Index.Value + 1);
            });
        });
    }

    private void SendCheckpoint(InstallSnapshot message, int to)
    {
        string? path = CheckpointFile.NewestPath(_disk, _settings.CheckpointDirectory);
        if (path is null || _sim.Network.Loses(Number, to) || _sim.Member(to)?.Process is not { Ended: false } receiver)
        {
            _sim.Trace($"{Number} cannot send a checkpoint to {to}");
            Report(message.To, whole: false);
            return;
        }

        byte[] content = ContentOf(path);
        bool breaks = _prng.Chance(_sim.Network.DropChance);
        byte[] arrives = breaks ? content[.._prng.NextInt(0, content.Length)] : content;
        bool answerLost = _prng.Chance(_sim.Network.DropChance);
        _sim.Agenda.In(_sim.Network.Delay() + content.Length, () =>
        {
            _sim.Trace($"checkpoint {message.Snapshot.Index} of {Number} arrives at {to}, {arrives.Length} of {content.Length} bytes, paused {receiver.Paused}, ended {receiver.Ended}");
            bool waits = receiver.Paused;
            if (waits || receiver.Ended)
            {
                // The connection breaks, or the sender's patience ends.
                Report(message.To, whole: false);
            }

            receiver.Input(() =>
            {
                bool whole = receiver.TakeIn(message, arrives);
                if (!waits)
                {
                    Report(message.To, whole && !answerLost);
                }
            });
        });
    }

    private byte[] ContentOf(string path)
    {
        using IDiskFile file = _disk.Open(path, DiskOpen.Read);
        byte[] content = new byte[file.Length];
        file.Read(0, content);
        return content;
    }

    private void Report(MemberId to, bool whole) => After(_prng.NextInt(1000, 20_000), () =>
    {
        _sim.Trace($"{Number} learns that the checkpoint to {to} arrived: {whole}");
        Replica.Raft.ReportSnapshot(to, whole);
    });

    /// <summary>False when the checkpoint did not arrive whole.</summary>
    private bool TakeIn(InstallSnapshot message, byte[] content)
    {
        try
        {
            // Completes at once: the stream is in memory.
            (CheckpointHead head, MvccStore store, InstallSnapshot named) =
                _receiver.TakeAsync(message, new MemoryStream(content), CancellationToken.None).GetAwaiter().GetResult();
            // In place already, but Raft does not know yet: a crash may come between.
            After(_prng.NextInt(0, 5000), () => Turns.Offer(named, head, store));
            return true;
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            return false;
        }
    }
}
