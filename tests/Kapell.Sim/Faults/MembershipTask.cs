using Kapell.Base;
using Kapell.Raft;
using Kapell.Sim.Checks;
using Kapell.Sim.World;

namespace Kapell.Sim.Faults;

/// <summary>
/// What an operator does, one change at a time and again until it is so: wipe a member and remove it, or remove one that lives; add a
/// learner on an empty disk and promote it.
/// </summary>
internal sealed class MembershipTask(Simulation sim, Prng prng)
{
    private const int MembersMax = 7;
    private readonly Queue<(ConfChangeKind Kind, int Member)> _plan = new();

    // Who has carried out this configuration, and how long its log was then.
    private readonly Dictionary<MemberId, LogIndex> _informed = [];
    private ConfState _configuration = ConfState.Empty;
    private Operation? _asked;
    private bool _ended;

    public bool IsIdle => _plan.Count == 0;

    public void Begin() => Later();

    public void End() => _ended = true;

    private void Later() => sim.Agenda.In(prng.NextInt(50, 800) * 1000L, () =>
    {
        Step();
        Later();
    });

    private void Step()
    {
        LookWhoIsInformed();
        if (_plan.Count == 0)
        {
            if (!_ended && prng.Chance(0.2))
            {
                Plan();
            }

            return;
        }

        if (_asked is { State: OperationState.Pending } || sim.Leader is not { } leader)
        {
            return;
        }

        (ConfChangeKind kind, int number) = _plan.Peek();
        if (IsSo(leader, kind, number))
        {
            Done(kind, number);
            return;
        }

        if (kind == ConfChangeKind.AddVoter && !HasCaughtUp(leader, number))
        {
            return;
        }

        Kapell.Etcd.Protocol.Member? entry = kind == ConfChangeKind.AddLearner ? SimMember.Entry(number, learner: true) : null;
        _asked = sim.Clients.Change(leader.Number, kind, number, entry);
    }

    private void Plan()
    {
        if (sim.Leader is not { } leader || leader.Replica.Raft.ConfState is not { IsJoint: false, Learners.Length: 0 } conf)
        {
            return;
        }

        int voters = conf.Voters.Length;
        int victim = (int)conf.Voters[prng.NextInt(0, voters)].Value;
        bool replaces = voters >= 3 && prng.Chance(0.6) && CanBeSpared(conf, victim);
        if (replaces)
        {
            switch (prng.NextInt(0, 3))
            {
                case 0:
                    sim.Wipe(victim);
                    break;
                case 1:
                    // A flipped bit in what was never acknowledged cannot be told from one in what was: the member may refuse to start.
                    sim.Crash(victim).Garble();
                    sim.Start(victim, mayRefuse: true);
                    break;
            }

            _plan.Enqueue((ConfChangeKind.Remove, victim));
        }

        if (replaces || voters < MembersMax)
        {
            int number = sim.NextNumber;
            _plan.Enqueue((ConfChangeKind.AddLearner, number));
            _plan.Enqueue((ConfChangeKind.AddVoter, number));
        }
    }

    private void LookWhoIsInformed()
    {
        if (sim.Leader is not { } leader)
        {
            return;
        }

        ConfState conf = leader.Replica.Raft.ConfState;
        if (!conf.Equals(_configuration))
        {
            _configuration = conf;
            _informed.Clear();
        }

        foreach (MemberProcess process in sim.Running.Where(p => p.Replica.Raft.ConfState.Equals(conf)))
        {
            _informed.TryAdd(new((ulong)process.Number), process.Replica.Raft.LastIndex);
        }
    }

    /// <summary>
    /// A configuration counts for a member when it has carried it out (etcd: raft, the difference from thesis §4.1). Who loses a disk before
    /// a majority of those that remain know the newest for good may have lost the cluster: they still need the lost one. Nobody promises
    /// more, so an operator who destroys a disk waits for that. What a member knows to be committed is on its disk for good as soon as its
    /// log has grown once more, for the commit index is flushed with entries, not by itself.
    /// </summary>
    private bool CanBeSpared(ConfState conf, int victim) =>
        conf.Equals(_configuration)
        && conf.Voters.Count(id => id.Value != (ulong)victim
            && _informed.TryGetValue(id, out LogIndex length)
            && sim.Member((int)id.Value)?.Process is { Ended: false } process
            && process.Replica.Raft.ConfState.Equals(conf)
            && process.Replica.Raft.Status().Durable > length) > conf.Voters.Length / 2;

    private static bool IsSo(MemberProcess leader, ConfChangeKind kind, int number)
    {
        ConfState conf = leader.Replica.Raft.ConfState;
        MemberId id = new((ulong)number);
        return kind switch
        {
            ConfChangeKind.Remove => !conf.IsMember(id),
            ConfChangeKind.AddVoter => conf.Voters.Contains(id),
            _ => conf.IsMember(id),
        };
    }

    // etcd: server.go isLearnerReady: nine tenths of the leader's log.
    private static bool HasCaughtUp(MemberProcess leader, int number) =>
        leader.Replica.Raft.Status().Members.FirstOrDefault(m => m.Id.Value == (ulong)number) is { Match.Value: > 0 } progress
        && progress.Match.Value >= leader.Replica.Raft.LastIndex.Value * 9 / 10;

    private void Done(ConfChangeKind kind, int number)
    {
        _plan.Dequeue();
        _asked = null;
        if (kind == ConfChangeKind.AddLearner && sim.Member(number) is null)
        {
            sim.Join(number);
        }
        else if (kind == ConfChangeKind.Remove)
        {
            // The others tell it, or an operator turns it off.
            sim.Agenda.In(prng.NextInt(100, 3000) * 1000L, () =>
            {
                SimMember member = sim.Member(number)!;
                member.IsRemoved = true;
                member.Process?.End();
            });
        }
    }
}
