using System.Text;
using Kapell.Base;
using Kapell.Raft;
using Kapell.Raft.Encoding;
using Xunit;

namespace Kapell.Etcd.Tests.Raft;

/// <summary>Members and the messages between them, all from one seed, with the promises of Raft figure 3 checked after each step.</summary>
internal sealed class TestNetwork
{
    private readonly Prng _prng;
    private readonly bool _slowDisk;
    private readonly Func<RaftConfig, RaftConfig> _configure;
    private readonly List<Message> _wire = [];
    private readonly Dictionary<Term, MemberId> _leaders = [];
    private readonly List<Entry> _committed = [];
    private readonly HashSet<(MemberId, MemberId)> _cut = [];

    public TestNetwork(int members, ulong seed, bool slowDisk = false, Func<RaftConfig, RaftConfig>? configure = null)
    {
        _prng = new Prng(seed);
        _slowDisk = slowDisk;
        _configure = configure ?? (static c => c);
        MemberId[] ids = [.. Enumerable.Range(1, members).Select(i => new MemberId((ulong)i))];
        Members = [.. ids.Select(id => new TestMember(id, _prng.Split(), ids, slowDisk, _configure))];
    }

    public List<TestMember> Members { get; }

    /// <summary>What <see cref="Settle"/> has taken from the wire, in that order.</summary>
    public List<Message> Carried { get; } = [];

    public double DropChance { get; set; }

    public double DuplicateChance { get; set; }

    /// <summary>Random steps also add, promote, demote and remove members.</summary>
    public bool ChangesMembership { get; set; }

    public TestMember this[int id] => Members.Single(m => m.Id.Value == (ulong)id);

    public TestMember? Leader => Members.Where(m => m.Node.Role == Role.Leader).MaxBy(m => m.Node.Term.Value);

    public TestMember Join(int id)
    {
        TestMember member = new(new MemberId((ulong)id), _prng.Split(), [], _slowDisk, _configure);
        Members.Add(member);
        return member;
    }

    public void Cut(int left, int right)
    {
        _cut.Add((new MemberId((ulong)left), new MemberId((ulong)right)));
        _cut.Add((new MemberId((ulong)right), new MemberId((ulong)left)));
    }

    public void Isolate(int id) => Members.ForEach(m => Cut(id, (int)m.Id.Value));

    public void Heal() => _cut.Clear();

    /// <summary>Delivers, and lets disks finish, until nothing moves.</summary>
    public void Settle()
    {
        bool moved = true;
        while (moved)
        {
            Collect();
            moved = _wire.Count > 0;
            while (_wire.Count > 0)
            {
                Message message = _wire[0];
                _wire.RemoveAt(0);
                Carried.Add(message);
                Deliver(message);
            }

            foreach (TestMember member in Members)
            {
                while (member.FlushOne())
                {
                    moved = true;
                }
            }

            CheckAll();
        }
    }

    public void Tick(int times)
    {
        for (int i = 0; i < times; i++)
        {
            Members.ForEach(m => m.Node.Tick());
            Settle();
        }
    }

    /// <summary>Ticks until there is a leader that all connected members follow.</summary>
    public TestMember Elect()
    {
        for (int i = 0; i < 400 && Leader is null; i++)
        {
            Tick(1);
        }

        return Leader ?? throw new InvalidOperationException("no leader after 400 ticks");
    }

    public void Propose(string text)
    {
        Assert.Equal(ProposeResult.Accepted, Leader!.Node.Propose(Encoding.UTF8.GetBytes(text)));
        Settle();
    }

    /// <summary>One random event.</summary>
    public void RandomStep(int proposal)
    {
        Collect();
        TestMember member = Members[_prng.NextInt(0, Members.Count)];
        switch (_prng.NextInt(0, 100))
        {
            case < 20:
                member.Node.Tick();
                break;
            case < 30:
                _ = member.Node.Propose(Encoding.UTF8.GetBytes($"p{proposal}"));
                break;
            case < 31:
                member.Restart();
                break;
            case < 33:
                member.Checkpoint(keep: _prng.NextInt(0, 5));
                break;
            case < 34:
                Isolate((int)member.Id.Value);
                break;
            case < 36:
                Heal();
                break;
            case < 55:
                member.FlushOne();
                break;
            case < 57:
                member.Node.ReadIndex((ulong)proposal);
                break;
            case < 59 when ChangesMembership:
                _ = member.Node.ProposeConfChange(RandomChange());
                break;
            default:
                DeliverRandom();
                break;
        }

        member.Pump();
        CheckAll();
    }

    private ConfChange RandomChange()
    {
        ConfChangeStep[] steps = [.. Enumerable.Range(0, _prng.Chance(0.7) ? 1 : 2).Select(_ => new ConfChangeStep(
            (ConfChangeKind)_prng.NextInt(0, 3), Members[_prng.NextInt(0, Members.Count)].Id))];
        return new ConfChange(steps, ConfChangeTransition.Auto, default);
    }

    /// <summary>For the message of a failure.</summary>
    public string Describe()
    {
        StringBuilder text = new();
        foreach (TestMember member in Members)
        {
            RaftStatus status = member.Node.Status();
            text.AppendLine($"{status} writing={member.Writing} {string.Join("; ", status.Members)}");
        }

        return text.ToString();
    }

    private void DeliverRandom()
    {
        if (_wire.Count == 0)
        {
            return;
        }

        int place = _prng.NextInt(0, _wire.Count);
        Message message = _wire[place];
        if (!_prng.Chance(DuplicateChance))
        {
            _wire.RemoveAt(place);
        }

        if (!_prng.Chance(DropChance))
        {
            Deliver(message);
            return;
        }

        SnapshotLost(message);
    }

    private void Collect()
    {
        foreach (TestMember member in Members)
        {
            member.Pump();
            _wire.AddRange(member.Outbox);
            member.Outbox.Clear();
        }

        while (_wire.Count > 2000)
        {
            SnapshotLost(_wire[0]);
            _wire.RemoveAt(0);
        }
    }

    private void Deliver(Message message)
    {
        TestMember? to = Members.SingleOrDefault(m => m.Id == message.To);
        TestMember? from = Members.SingleOrDefault(m => m.Id == message.From);
        if (to is null || from is null || _cut.Contains((message.From, message.To)))
        {
            SnapshotLost(message);
            return;
        }

        if (message is InstallSnapshot lost && !CarryCheckpoint(lost, from, to))
        {
            SnapshotLost(message);
            return;
        }

        Assert.True(RaftCodec.TryDecode(RaftCodec.Encode(message), out Message? read));
        to.Node.Step(read!);
        to.Pump();
        if (message is InstallSnapshot)
        {
            from.Node.ReportSnapshot(message.To, sent: true);
            from.Pump();
        }
    }

    /// <summary>The contract of a transport: it says so when a checkpoint did not arrive.</summary>
    private void SnapshotLost(Message message)
    {
        if (message is InstallSnapshot)
        {
            Members.SingleOrDefault(m => m.Id == message.From)?.Node.ReportSnapshot(message.To, sent: false);
        }
    }

    /// <summary>The bytes of a checkpoint travel beside the message; a newer one of the sender may have replaced it.</summary>
    private static bool CarryCheckpoint(InstallSnapshot message, TestMember from, TestMember to)
    {
        List<Entry> content = from.CheckpointContent;
        if (content.Count == 0 || content[^1].Position != message.Snapshot.Position || to.Writing > 0)
        {
            return false;
        }

        to.Arrived = [.. content];
        return true;
    }

    private void CheckAll()
    {
        foreach (TestMember member in Members)
        {
            if (member.Node.Role == Role.Leader)
            {
                // Election safety: at most one leader in a term (Raft §5.2).
                _leaders.TryAdd(member.Node.Term, member.Id);
                Assert.Equal(_leaders[member.Node.Term], member.Id);
            }

            // State machine safety: no two members apply different entries at one index (Raft §5.4.3).
            for (int i = 0; i < member.Applied.Count; i++)
            {
                if (i == _committed.Count)
                {
                    _committed.Add(member.Applied[i]);
                }
            }

            int checkFrom = Math.Max(0, member.Applied.Count - 20);
            for (int i = checkFrom; i < member.Applied.Count; i++)
            {
                Assert.Equal(_committed[i].Position, member.Applied[i].Position);
                Assert.True(_committed[i].Data.Span.SequenceEqual(member.Applied[i].Data.Span));
            }
        }
    }

    /// <summary>Log matching and leader completeness, when all has come to rest (Raft §5.3, §5.4).</summary>
    public void CheckConverged()
    {
        TestMember leader = Leader!;
        Assert.Equal(_committed.Count, leader.Applied.Count);
        Assert.False(leader.Node.ConfState.IsJoint);
        foreach (TestMember member in Members.Where(m => leader.Node.ConfState.IsMember(m.Id)))
        {
            Assert.Equal(leader.Node.LastIndex, member.Node.LastIndex);
            Assert.Equal(leader.Applied.Select(e => e.Position), member.Applied.Select(e => e.Position));
        }
    }
}
