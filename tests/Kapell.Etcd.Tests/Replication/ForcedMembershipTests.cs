using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Raft;
using Kapell.Storage;
using Xunit;

namespace Kapell.Etcd.Tests.Replication;

public sealed class ForcedMembershipTests
{
    private static Entry Entry(ulong index, ConfChangeKind kind, ulong member) => new(
        new LogIndex(index), new Term(2), EntryKind.ConfChange, ConfChange.Of(kind, new MemberId(member), new MembershipContext(0, kind == ConfChangeKind.Remove ? null : new Member { ID = member, IsLearner = kind == ConfChangeKind.AddLearner }).Encode()).Encode());

    private static IEnumerable<(ulong Index, ConfChangeKind Kind, ulong Member)> Said(IEnumerable<Entry> entries) => entries.Select(static e =>
        ConfChange.TryDecode(e.Data, out ConfChange change) ? (e.Index.Value, change.Steps.Single().Kind, change.Steps.Single().Member.Value) : default);

    [Fact]
    public void All_others_go_voters_and_learners()
    {
        Entry[] log = [Entry(1, ConfChangeKind.AddVoter, 1), Entry(2, ConfChangeKind.AddVoter, 2), Entry(3, ConfChangeKind.AddLearner, 3)];
        IReadOnlyList<Entry> forced = ForcedMembership.Changes(new MemberId(2), null, log, new HardState(new Term(2), MemberId.None, new LogIndex(3)));
        Assert.Equal([(4, ConfChangeKind.Remove, 1), (5, ConfChangeKind.Remove, 3)], Said(forced));
    }

    [Fact]
    public void Those_of_the_checkpoint_go_too_and_one_that_is_gone_is_not_put_out_again()
    {
        CheckpointHead head = new() { Index = 9 };
        head.Voters.AddRange([1ul, 2, 3]);
        head.Members.AddRange([new Member { ID = 1 }, new Member { ID = 2 }, new Member { ID = 3 }]);
        Entry[] log = [Entry(10, ConfChangeKind.Remove, 1)];
        IReadOnlyList<Entry> forced = ForcedMembership.Changes(new MemberId(2), head, log, new HardState(new Term(2), MemberId.None, new LogIndex(10)));
        Assert.Equal([(11, ConfChangeKind.Remove, 3)], Said(forced));
    }

    [Fact]
    public void A_learner_votes_before_the_last_voter_goes()
    {
        Entry[] log = [Entry(1, ConfChangeKind.AddVoter, 1), Entry(2, ConfChangeKind.AddLearner, 2)];
        IReadOnlyList<Entry> forced = ForcedMembership.Changes(new MemberId(2), null, log, new HardState(new Term(2), MemberId.None, new LogIndex(2)));
        Assert.Equal([(3, ConfChangeKind.AddVoter, 2), (4, ConfChangeKind.Remove, 1)], Said(forced));
    }

    [Fact]
    public void One_that_was_put_out_does_not_go_on_alone()
    {
        Entry[] log = [Entry(1, ConfChangeKind.AddVoter, 1), Entry(2, ConfChangeKind.AddVoter, 2), Entry(3, ConfChangeKind.Remove, 2)];
        HardState state = new(new Term(2), MemberId.None, new LogIndex(3));
        Assert.Throws<InvalidDataException>(() => ForcedMembership.Changes(new MemberId(2), null, log, state));
    }

    [Fact]
    public void The_log_says_so_at_the_next_start_too()
    {
        MemoryDisk disk = new(new Prng(9));
        ReplicaSettings settings = new() { DataDirectory = "/data", Founding = new Founding(7, 2, [new Member { ID = 1 }, new Member { ID = 2 }, new Member { ID = 3 }]) };
        ReplicaLoader.Load(disk, settings, new Prng(1)).Log.Dispose();
        LoadedReplica forced = ReplicaLoader.Load(disk, settings with { ForceNewCluster = true }, new Prng(2));
        Assert.Equal(5ul, forced.HardState.Commit.Value);
        forced.Log.Dispose();

        LoadedReplica again = ReplicaLoader.Load(disk, settings, new Prng(3));
        Assert.Equal((5ul, 5ul), (again.HardState.Commit.Value, again.Replica.Raft.LastIndex.Value));
        again.Log.Dispose();
    }
}
