using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Raft;
using Kapell.Sim.Checks;
using Kapell.Sim.Faults;
using Kapell.Sim.World;

namespace Kapell.Sim;

/// <summary>
/// A cluster in one thread: members, disks, network and clock, all from one seed, with the promises checked at every step. Scenarios and
/// <see cref="Nemesis"/> speak to it in the same words.
/// </summary>
internal sealed class Simulation : IDisposable
{
    public const int TickMilliseconds = 100;
    private const ulong ClusterId = 0xC1;
    private readonly SortedDictionary<int, SimMember> _members = [];
    private readonly Prng _prng;

    public Simulation(ulong seed, SimOptions? options = null)
    {
        (Seed, Options) = (seed, options ?? new SimOptions());
        _prng = new Prng(seed);
        Network = new SimNetwork(Agenda, _prng.Split());
        Checks = new Promises(this);
        Clients = new SimClients(this);
        Member[] founders = [.. Enumerable.Range(1, Options.Members).Select(static n => World.SimMember.Entry(n))];
        foreach (Member founder in founders)
        {
            int number = (int)founder.ID;
            _members.Add(number, new SimMember(number, new Founding(ClusterId, founder.ID, founders), _prng.Split()));
            Start(number);
        }
    }

    public ulong Seed { get; }

    public SimOptions Options { get; }

    public Breakage Breakage => Options.Breakage;

    public Agenda Agenda { get; } = new();

    public SimNetwork Network { get; }

    public Promises Checks { get; }

    public SimClients Clients { get; }

    public Unseed Unseed { get; } = new();

    public int LeaderElections { get; set; }

    /// <summary>Histories that the checker could not decide within its bound.</summary>
    public int Undecided { get; private set; }

    public int Restarts { get; private set; }

    /// <summary>Disks take this many times longer.</summary>
    public int DiskSlowness { get; set; } = 1;

    public IReadOnlyList<Operation> Operations => Clients.Operations;

    public IReadOnlyCollection<SimMember> Members => _members.Values;

    public IEnumerable<MemberProcess> Running => _members.Values.Where(static m => m.Runs).Select(static m => m.Process!);

    /// <summary>The leader of the newest term, if it runs.</summary>
    public MemberProcess? Leader => Running.Where(static p => p.Leads).MaxBy(static p => p.Replica.Raft.Term.Value);

    public SimMember? Member(int number) => _members.GetValueOrDefault(number);

    public SimulationFailedException Fail(string what, Exception? cause = null) => new(Seed, Agenda.Now, what, cause);

    public void Trace(string what) => Options.Trace?.Invoke($"{Agenda.Now / 1000,7} ms  {what}");

    public RaftConfig AdjustRaft(RaftConfig config)
    {
        RaftConfig adjusted = config with { PreVote = Options.PreVote, LooseEntriesMin = Options.LooseEntriesMin };
        return Breakage.Raft?.Invoke(adjusted) ?? adjusted;
    }

    public long DiskDelay(Prng prng, bool flush) => (flush ? prng.NextInt(500, 5000) : prng.NextInt(0, 500)) * (long)DiskSlowness;

    public Prng Split() => _prng.Split();

    // The language of faults.

    public void Run(int ticks) => RunFor(ticks * (long)TickMilliseconds);

    public void RunFor(long milliseconds)
    {
        long until = Agenda.Now + (milliseconds * 1000);
        while (Agenda.Next(until))
        {
        }
    }

    /// <summary>True as soon as the condition holds; false when the time is up.</summary>
    public bool RunUntil(Func<bool> condition, int ticks)
    {
        long until = Agenda.Now + (ticks * (long)TickMilliseconds * 1000);
        while (!condition())
        {
            if (!Agenda.Next(until))
            {
                return condition();
            }
        }

        return true;
    }

    public MemberProcess Elect() => RunUntil(() => Leader is { } l && l.Replica.Raft.Committed == l.Replica.AppliedPosition.Index
        && l.Replica.Raft.Committed.Value > (ulong)Options.Members, ticks: 300) ? Leader! : throw Fail("no leader after 300 ticks");

    /// <param name="mayRefuse">Its disk is damaged in a way that it may find it cannot trust; then it counts as wiped.</param>
    public void Start(int number, bool mayRefuse = false)
    {
        SimMember member = _members[number];
        if (!member.MayRun || member.Runs)
        {
            return;
        }

        try
        {
            member.Process = new MemberProcess(this, member);
        }
        catch (Storage.CorruptLogException) when (mayRefuse)
        {
            member.Wipe();
            return;
        }
        catch (Exception e) when (e is InvalidDataException or Storage.CorruptLogException or InvariantBrokenException)
        {
            throw Fail($"member {number} does not start again: {e.Message}", e);
        }
        catch (Storage.DiskFullException)
        {
            // It stays down; somebody must make room.
            return;
        }

        Restarts++;
        Trace($"start {number}");
        member.Process.Start();
    }

    public CrashFault Crash(int number)
    {
        Trace($"crash {number}");
        _members[number].Process?.End();
        foreach (MemberProcess other in Running.Where(p => !Network.IsCut(number, p.Number)).ToArray())
        {
            // The connections break, which the others see soon.
            Agenda.In(_prng.NextInt(500, 5000), () => other.Input(() =>
            {
                other.Replica.Raft.ReportUnreachable(new MemberId((ulong)number));
                other.Replica.Raft.ReportDisconnected(new MemberId((ulong)number));
            }));
        }

        return new CrashFault(_members[number]);
    }

    public void Restart(int number)
    {
        Crash(number).DropUnsynced();
        Start(number);
    }

    public void Pause(int number) => _members[number].Process?.Pause();

    public void Resume(int number) => _members[number].Process?.Resume();

    /// <summary>One way only.</summary>
    public void Cut(int from, int to) => Network.Cut(from, to);

    public void CutBoth(int one, int other)
    {
        Cut(one, other);
        Cut(other, one);
    }

    public void Isolate(int number) => _members.Keys.Where(k => k != number).ToList().ForEach(k => CutBoth(number, k));

    public void Heal() => Network.Heal();

    public void Checkpoint(int number) => _members[number].Process?.Input(_members[number].Process!.TakeCheckpoint);

    public void TransferTo(int number) => Leader?.Input(() => Leader?.Replica.Raft.TransferLeadership(new MemberId((ulong)number)));

    /// <summary>A member that the cluster has been told of, on an empty disk.</summary>
    public SimMember Join(int number)
    {
        SimMember member = new(number, new Founding(ClusterId, (ulong)number, []), _prng.Split());
        _members.Add(number, member);
        Start(number);
        return member;
    }

    public int NextNumber => _members.Keys.Max() + 1;

    /// <summary>The disk is gone for good.</summary>
    public void Wipe(int number)
    {
        Crash(number).DropUnsynced();
        _members[number].Wipe();
    }

    /// <summary>All faults end, everybody runs; then whatever was asked must end and all must become alike.</summary>
    public void Settle(Func<bool>? also = null, int ticks = 600)
    {
        Network.BeFaultless();
        DiskSlowness = 1;
        foreach (SimMember member in _members.Values.ToArray())
        {
            member.Disk.CapacityBytes = long.MaxValue;
            Resume(member.Number);
            Start(member.Number);
        }

        if (!RunUntil(() => IsCalm() && (also?.Invoke() ?? true), ticks))
        {
            throw Fail($"not calm {ticks} ticks after the last fault: {Describe()}");
        }

        foreach (MemberProcess process in Running)
        {
            Checks.CompareContent(process);
        }

        SimComparison.Run(this);
        CheckAcknowledged();
        HistoryCheck history = new(Operations, 2, Checks.Revision, Checks.ChangesOf, what => Fail(what));
        history.Run();
        Undecided += history.Undecided;
        Unseed.Add(Agenda.Now);
    }

    public string Describe() => string.Join("; ", _members.Values.Select(m => !m.Runs
        ? $"{m.Number} {(m.IsWiped ? "wiped" : m.IsRemoved ? "removed" : "down")}"
        : $"{m.Number} {m.Process!.Replica.Raft.Role} term {m.Process.Replica.Raft.Term} leader {m.Process.Replica.Raft.Leader} last {m.Process.Replica.Raft.LastIndex} "
            + $"committed {m.Process.Replica.Raft.Committed} applied {m.Process.Replica.AppliedPosition.Index} {m.Process.Replica.Raft.ConfState} "
            + $"waiting {m.Process.Turns.PendingProposals}+{m.Process.Turns.PendingReads}")) + string.Concat(Running.Where(static p => p.Leads).Select(static p => "\n  " + string.Join("\n  ", p.Replica.Raft.Status().Members) + $" first {p.Replica.Raft.FirstIndex}")) + Clients.Describe();

    /// <summary>The last entry is carried out once more behind the back of the replica: content and index were not one.</summary>
    public void ApplyLastAgain(int number, Replica replica)
    {
        Operation? last = Operations.LastOrDefault(static o => o is { State: OperationState.Done, Kind: OperationKind.Put });
        if (last is not null && replica.AppliedPosition.Index.Value > 0)
        {
            PutRequest put = new() { Key = Google.Protobuf.ByteString.CopyFromUtf8(last.Key), Value = Google.Protobuf.ByteString.CopyFromUtf8(last.Value!) };
            replica.Applier.Apply(new Command(0, CommandKind.Put, put), replica.Header, wantsReply: false);
        }
    }

    public void Dispose()
    {
        foreach (MemberProcess process in Running.ToArray())
        {
            process.End();
        }
    }

    private bool IsCalm()
    {
        if (Leader is not { } leader || Clients.IsBusy)
        {
            return false;
        }

        ConfState conf = leader.Replica.Raft.ConfState;
        return !conf.IsJoint && leader.Replica.Raft.LastIndex == leader.Replica.AppliedPosition.Index
            && conf.Voters.Concat(conf.Learners).All(id => Member((int)id.Value)?.Process is { Ended: false } p
                && p.Replica.AppliedPosition == leader.Replica.AppliedPosition && !p.IsBusy && p.Turns.PendingReads == 0);
    }

    /// <summary>Every acknowledged write is in the store of every member, at its revision, unless that was compacted.</summary>
    private void CheckAcknowledged()
    {
        HashSet<int> members = [.. Leader!.Replica.Raft.ConfState.Voters.Concat(Leader.Replica.Raft.ConfState.Learners).Select(static v => (int)v.Value)];
        foreach (MemberProcess process in Running.Where(p => members.Contains(p.Number)))
        {
            foreach (Operation put in Operations.Where(static o => o is { State: OperationState.Done, Kind: OperationKind.Put or OperationKind.PutTwo }))
            {
                string? value = SimClients.Look(process.Store, put.Key, put.Revision, out _);
                if (put.Revision >= process.Store.CompactRevision && value != put.Value)
                {
                    throw Fail($"member {process.Number} lost an acknowledged write, it has {value ?? "nothing"}: {put}");
                }
            }
        }
    }
}
