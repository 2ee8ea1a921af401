using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Xunit;

namespace Kapell.Etcd.Tests.Replication;

public sealed class ReplicaTests
{
    [Fact]
    public void A_write_is_answered_with_the_revision_it_made()
    {
        using LoneReplica one = new();
        ApplyOutcome outcome = one.Propose(CommandKind.Put, Put("a", "1"));
        PutResponse response = PutResponse.Parser.ParseFrom(outcome.Reply!.Span);
        Assert.Equal((2, 9UL, 1UL), (response.Header.Revision, response.Header.ClusterId, response.Header.MemberId));
        Assert.Equal(2, one.Store.Revision);
        one.Propose(CommandKind.Put, Put("a", "2"), wanted: false);
        Assert.Equal(3, one.Store.Revision);
    }

    [Fact]
    public void A_leader_renews_no_lease_before_it_has_carried_out_all_that_its_predecessor_proposed()
    {
        (MemberId self, MemberId other) = (new MemberId(1), new MemberId(2));
        using Replica replica = OneOfThree(self);
        RaftNode raft = replica.Raft;
        raft.Campaign();
        Turn(replica);
        Assert.Null(replica.RenewLease(7, out _));
        raft.Step(new VoteResponse(other, self, raft.Term, false, true));
        Assert.Equal(Kapell.Raft.Role.Leader, raft.Role);
        Assert.Null(replica.RenewLease(7, out _));
        Turn(replica);
        Assert.Null(replica.RenewLease(7, out _));
        Acknowledge(replica, other);
        Assert.Equal(0, replica.RenewLease(7, out bool proven));
        Assert.False(proven, "nobody has answered a heartbeat");

        // The proof is as old as the beginning of the round, however late its answer comes.
        replica.Tick(1000);
        Heartbeat beat = replica.TakeReady().Messages.OfType<Heartbeat>().Single(m => m.To == other);
        Turn(replica);
        replica.SetTime(1250);
        raft.Step(new HeartbeatResponse(other, self, raft.Term, beat.ReadPosition));
        Assert.Equal((0, true), (replica.RenewLease(7, out proven), proven));
        replica.SetTime(1300);
        Assert.Equal((0, true), (replica.RenewLease(7, out proven), proven));
        replica.SetTime(1301);
        Assert.Equal((0, false), (replica.RenewLease(7, out proven), proven));
    }

    /// <summary>Found by the simulator, seed 1795862453474033: a renewal that was answered, and then the lease ended.</summary>
    [Fact]
    public void A_lease_whose_end_lies_in_the_log_is_not_renewed()
    {
        (MemberId self, MemberId other) = (new MemberId(1), new MemberId(2));
        using Replica replica = OneOfThree(self);
        RaftNode raft = replica.Raft;
        LogPosition last = new(Term.Zero.Next(), raft.LastIndex);
        Term term = raft.Term.Next();
        ReadOnlyMemory<byte> grant = new Command(0, CommandKind.LeaseGrant, new LeaseGrantRequest { ID = 7, TTL = 10 }).Encode();
        ReadOnlyMemory<byte> end = new Command(0, CommandKind.LeaseRevoke, new LeaseRevokeRequest { ID = 7 }).Encode();
        Entry[] entries = [new Entry(last.Index.Next(), term, EntryKind.Normal, grant), new Entry(last.Index.Next().Next(), term, EntryKind.Normal, end)];
        raft.Step(new AppendRequest(other, self, term, last, entries[0].Index, entries));
        Turn(replica);
        raft.Campaign();
        Turn(replica);
        raft.Step(new VoteResponse(other, self, raft.Term, false, true));
        Turn(replica);
        Assert.Equal((Kapell.Raft.Role.Leader, entries[0].Index), (raft.Role, replica.AppliedPosition.Index));
        Assert.Null(replica.RenewLease(7, out _));
        Acknowledge(replica, other);
        Assert.Equal(0, replica.RenewLease(7, out _));
    }

    [Fact]
    public void A_proof_of_leadership_is_of_its_term()
    {
        (MemberId self, MemberId other) = (new MemberId(1), new MemberId(2));
        using Replica replica = OneOfThree(self);
        RaftNode raft = replica.Raft;
        for (int term = 0; term < 2; term++)
        {
            raft.Campaign();
            Turn(replica);
            raft.Step(new VoteResponse(other, self, raft.Term, false, true));
            Turn(replica);
            Acknowledge(replica, other);
            Assert.Equal((0, false), (replica.RenewLease(7, out bool proven), proven));
            replica.Tick(1000);
            Heartbeat beat = replica.TakeReady().Messages.OfType<Heartbeat>().Single(m => m.To == other);
            Turn(replica);
            raft.Step(new HeartbeatResponse(other, self, raft.Term, beat.ReadPosition));
            Assert.Equal((0, true), (replica.RenewLease(7, out proven), proven));

            // Deposed, and back in a later term.
            raft.Step(new Heartbeat(other, self, raft.Term.Next(), LogIndex.Zero, 0));
            Turn(replica);
            Assert.Null(replica.RenewLease(7, out _));
        }
    }

    [Fact]
    public void Entries_that_nobody_lacks_are_not_kept_for_a_checkpoint_that_takes_long()
    {
        using LoneReplica one = new();
        one.Replica.CheckpointBegun();
        for (int i = 0; i < 80; i++)
        {
            one.Propose(CommandKind.Put, Put("a", new string('v', 1 << 20)));
        }

        Assert.InRange(one.Replica.Raft.AppliedBytesHeld, 1, 40 << 20);
    }

    [Fact]
    public void A_member_that_is_alone_keeps_few_entries_and_with_another_as_many_as_are_asked_for()
    {
        using LoneReplica one = new();
        RaftNode raft = one.Replica.Raft;
        int most = 0;
        for (int i = 0; i < 2000; i++)
        {
            one.Propose(CommandKind.Put, Put("a", "1"));
            most = Math.Max(most, raft.AppliedEntriesHeld);
        }

        Assert.InRange(most, 1, (2 * one.Replica.Retention.EntriesAlone) + 1);
        MembershipContext learner = new(0, new Member { ID = 2, IsLearner = true });
        Assert.Equal(ProposeResult.Accepted, raft.ProposeConfChange(ConfChange.Of(ConfChangeKind.AddLearner, new MemberId(2), learner.Encode())));
        for (int i = 0; i < 2000; i++)
        {
            one.Propose(CommandKind.Put, Put("a", "1"));
        }

        Assert.InRange(raft.AppliedEntriesHeld, 2000, 2 * one.Replica.Retention.Entries);
    }

    /// <summary>They were all kept until as many had come anew, and with hundreds of thousands of them there was much to collect when clients had come.</summary>
    [Fact]
    public void What_a_start_reads_from_the_log_does_not_stay_in_memory_when_it_is_applied()
    {
        const int count = 2000;
        Term term = Term.Zero.Next();
        MembershipContext self = new(0, new Member { ID = 1 });
        ConfChange founding = ConfChange.Of(ConfChangeKind.AddVoter, new MemberId(1), self.Encode());
        ReadOnlyMemory<byte> put = new Command(0, CommandKind.Put, Put("a", new string('v', 1000))).Encode();
        List<Entry> entries = [new Entry(new LogIndex(1), term, EntryKind.ConfChange, founding.Encode())];
        entries.AddRange(Enumerable.Range(2, count).Select(i => new Entry(new LogIndex((ulong)i), term, EntryKind.Normal, put)));
        RaftStart start = new() { HardState = new HardState(term, MemberId.None, entries[^1].Index), Entries = entries };
        RaftConfig config = new() { Id = new MemberId(1), Prng = new Prng(1), CommittedBytesPerReadyMax = 100_000 };
        using Replica replica = new(new RaftNode(config, start), new Applier(new MvccStore(), leaseTtlSecondsMin: 2), clusterId: 9, default, quotaBytes: 0);
        Turn(replica);
        Assert.Equal(entries[^1].Index, replica.AppliedPosition.Index);
        Assert.InRange(replica.Raft.AppliedEntriesHeld, 1, 2 * replica.Retention.EntriesAlone);
        Assert.InRange(replica.Raft.AppliedBytesHeld, 1, 2 * replica.Retention.EntriesAlone * 1100);
    }

    [Fact]
    public void A_refused_command_changes_nothing()
    {
        using LoneReplica one = new();
        one.Propose(CommandKind.Put, Put("a", "1"));
        uint before = StoreHash.Compute(one.Store, one.Store.Revision);
        Assert.Equal(EtcdError.LeaseNotFound, one.Propose(CommandKind.Put, new PutRequest { Key = Bytes("a"), Lease = 7 }).Error);
        Assert.Equal(EtcdError.KeyNotFound, one.Propose(CommandKind.Put, new PutRequest { Key = Bytes("b"), IgnoreLease = true }).Error);
        Assert.Equal(EtcdError.FutureRevision, one.Propose(CommandKind.Compact, new CompactionRequest { Revision = 99 }).Error);
        Assert.Equal(EtcdError.Compacted, one.Propose(CommandKind.Compact, new CompactionRequest { Revision = -1 }).Error);
        Assert.Equal(EtcdError.LeaseNotFound, one.Propose(CommandKind.LeaseRevoke, new LeaseRevokeRequest { ID = 5 }).Error);
        Assert.Equal(EtcdError.LeaseNotFound, one.Propose(CommandKind.LeaseGrant, new LeaseGrantRequest { TTL = 5 }).Error);
        Assert.Equal(
            EtcdError.LeaseTtlTooLarge, one.Propose(CommandKind.LeaseGrant, new LeaseGrantRequest { ID = 5, TTL = long.MaxValue }).Error);
        TxnRequest txn = new();
        txn.Success.Add(new RequestOp { RequestPut = Put("x", "1") });
        txn.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = Bytes("y"), Lease = 7 } });
        Assert.Equal(EtcdError.LeaseNotFound, one.Propose(CommandKind.Txn, txn).Error);
        Assert.Equal(before, StoreHash.Compute(one.Store, one.Store.Revision));
        Assert.Equal(2, one.Store.Revision);
    }

    [Fact]
    public void The_same_log_gives_the_same_store_wherever_it_is_applied()
    {
        using LoneReplica one = new();
        for (int i = 0; i < 200; i++)
        {
            one.Propose(CommandKind.Put, Put($"k{i * 7 % 20}", new string('v', i)));
            if (i % 30 == 0)
            {
                one.Propose(CommandKind.LeaseGrant, new LeaseGrantRequest { ID = i + 1, TTL = 10 });
                one.Propose(CommandKind.Put, new PutRequest { Key = Bytes($"l{i}"), Lease = i + 1 });
            }
        }

        one.Propose(CommandKind.LeaseRevoke, new LeaseRevokeRequest { ID = 31 });
        one.Propose(CommandKind.DeleteRange, new DeleteRangeRequest { Key = Bytes("k1"), RangeEnd = Bytes("k2") });
        one.Propose(CommandKind.Compact, new CompactionRequest { Revision = 100 });

        // Elsewhere nobody waits for an answer, and memory is tidied at other times.
        using Applier other = new(new MvccStore(), leaseTtlSecondsMin: 2);
        foreach (Kapell.Raft.Entry entry in one.Applied.Where(e => e.Kind == Kapell.Raft.EntryKind.Normal && !e.Data.IsEmpty))
        {
            other.Apply(Command.Decode(entry.Data.Span), default, wantsReply: false);
            other.Store.Maintain(3);
        }

        Assert.Equal(one.Store.Revision, other.Store.Revision);
        Assert.Equal(StoreHash.Compute(one.Store, one.Store.Revision), StoreHash.Compute(other.Store, other.Store.Revision));
        Assert.Equal(one.Store.Leases.All(), other.Store.Leases.All());
    }

    [Fact]
    public void Leases_end_by_the_clock_that_is_told_and_take_their_keys()
    {
        using LoneReplica one = new();
        one.Tick(1000);
        one.Propose(CommandKind.LeaseGrant, new LeaseGrantRequest { ID = 5, TTL = 3 });
        one.Propose(CommandKind.Put, new PutRequest { Key = Bytes("a"), Lease = 5 });
        one.Tick(3999);
        Assert.True(one.Store.Leases.Contains(5));
        one.Tick(4000);
        Assert.False(one.Store.Leases.Contains(5));
        Assert.False(one.Store.TryGet("a"u8, 0, out _));
    }

    [Fact]
    public void Leases_read_at_the_start_live_their_whole_time_from_then_however_long_the_machine_is_up()
    {
        MvccStore store = new();
        store.Leases.Grant(5, 3, now: 0);
        using LoneReplica one = new(startedAt: 9_000_000, store: store);
        one.Tick(9_003_999);
        Assert.True(one.Store.Leases.Contains(5));
        one.Tick(9_004_000); // With the grace of a leader that was just elected.
        Assert.False(one.Store.Leases.Contains(5));
    }

    [Fact]
    public void A_full_store_refuses_growth_until_there_is_space_again()
    {
        using LoneReplica one = new(quotaBytes: 10_000);
        one.Propose(CommandKind.Put, Put("a", new string('v', 9_800)));
        one.Propose(CommandKind.Alarm, new AlarmRequest { Action = AlarmRequest.Types.AlarmAction.Activate, MemberID = 1, Alarm = AlarmType.Nospace });
        Assert.Equal(EtcdError.NoSpace, one.Propose(CommandKind.Put, Put("b", "1")).Error);
        Assert.Equal(EtcdError.NoSpace, one.Propose(CommandKind.LeaseGrant, new LeaseGrantRequest { ID = 1, TTL = 5 }).Error);
        one.Tick(100);
        Assert.True(one.Replica.Applier.HasAlarm(AlarmType.Nospace));
        Assert.Null(one.Propose(CommandKind.DeleteRange, new DeleteRangeRequest { Key = Bytes("a") }).Error);
        one.Propose(CommandKind.Compact, new CompactionRequest { Revision = one.Store.Revision, Physical = true });
        one.Tick(200);
        one.Tick(300);
        one.Tick(10_299);
        Assert.True(one.Replica.Applier.HasAlarm(AlarmType.Nospace)); // Time for who made the space to end it.
        one.Tick(10_300);
        Assert.False(one.Replica.Applier.HasAlarm(AlarmType.Nospace));
        Assert.Null(one.Propose(CommandKind.Put, Put("b", "1")).Error);
    }

    [Fact]
    public void A_quota_that_was_raised_ends_the_alarm_of_the_one_before()
    {
        using LoneReplica one = new(quotaBytes: 11_000);
        one.Propose(CommandKind.Put, Put("a", new string('v', 9_800)));
        one.Propose(CommandKind.Alarm, new AlarmRequest { Action = AlarmRequest.Types.AlarmAction.Activate, MemberID = 1, Alarm = AlarmType.Nospace });
        one.Tick(100);
        one.Tick(10_100);
        Assert.False(one.Replica.Applier.HasAlarm(AlarmType.Nospace));

        // Raised while it leads, it stays until something has gone: one large request must not make it come and go.
        one.Propose(CommandKind.Alarm, new AlarmRequest { Action = AlarmRequest.Types.AlarmAction.Activate, MemberID = 1, Alarm = AlarmType.Nospace });
        one.Tick(10_200);
        one.Tick(30_000);
        Assert.True(one.Replica.Applier.HasAlarm(AlarmType.Nospace));
    }

    [Fact]
    public void A_corrupt_cluster_takes_nothing_but_the_end_of_the_alarm()
    {
        using LoneReplica one = new();
        AlarmRequest alarm = new() { Action = AlarmRequest.Types.AlarmAction.Activate, MemberID = 1, Alarm = AlarmType.Corrupt };
        one.Propose(CommandKind.Alarm, alarm);
        Assert.Equal(EtcdError.Corrupt, one.Propose(CommandKind.Put, Put("a", "1")).Error);
        Assert.Equal(EtcdError.Corrupt, one.Propose(CommandKind.DeleteRange, new DeleteRangeRequest { Key = Bytes("a") }).Error);
        alarm.Action = AlarmRequest.Types.AlarmAction.Deactivate;
        Assert.Null(one.Propose(CommandKind.Alarm, alarm).Error);
        Assert.Null(one.Propose(CommandKind.Put, Put("a", "1")).Error);
    }

    [Fact]
    public void Members_say_their_names_and_strangers_are_not_heard()
    {
        using LoneReplica one = new();
        Member attributes = new() { ID = 1, Name = "renamed", ClientURLs = { "http://c" } };
        one.Propose(CommandKind.MemberAttributes, attributes);
        one.Propose(CommandKind.MemberAttributes, new Member { ID = 2, Name = "stranger" });
        Member member = Assert.Single(one.Replica.Applier.Members.All);
        Assert.Equal(("renamed", "http://c"), (member.Name, Assert.Single(member.ClientURLs)));
    }

    [Theory]
    [InlineData(new byte[0])]
    [InlineData(new byte[] { 1, 2, 3 })]
    [InlineData(new byte[] { 1, 0, 0, 0, 0, 0, 0, 0, 99 })]
    public void An_entry_that_is_no_command_is_refused_by_name(byte[] data) =>
        Assert.Throws<InvalidDataException>(() => Command.Decode(data));

    private static PutRequest Put(string key, string value) => new() { Key = Bytes(key), Value = ByteString.CopyFromUtf8(value) };

    private static ByteString Bytes(string text) => ByteString.CopyFromUtf8(text);

    /// <summary>A voter of three, with its founding entries written and applied.</summary>
    private static Replica OneOfThree(MemberId self)
    {
        RaftNode raft = new(new RaftConfig { Id = self, Prng = new Prng(1), PreVote = false }, new RaftStart());
        raft.Bootstrap([.. Enumerable.Range(1, 3).Select(static i => ConfChange.Of(
            ConfChangeKind.AddVoter, new MemberId((ulong)i), new MembershipContext(0, new Member { ID = (ulong)i }).Encode()))]);
        Replica replica = new(raft, new Applier(new MvccStore(), leaseTtlSecondsMin: 2), clusterId: 9, default, quotaBytes: 0);
        Turn(replica);
        return replica;
    }

    private static void Turn(Replica replica)
    {
        while (replica.Raft.HasReady)
        {
            Ready ready = replica.TakeReady();
            if (ready.NeedsPersist)
            {
                replica.Raft.Persisted(ready.Number);
            }

            replica.Apply(ready.Committed, new Nobody());
        }
    }

    /// <summary>The other member has the whole log: what is in it is carried out.</summary>
    private static void Acknowledge(Replica replica, MemberId other)
    {
        replica.Raft.Step(new AppendResponse(other, replica.Raft.Id, replica.Raft.Term, true, replica.Raft.LastIndex, default));
        Turn(replica);
    }

    private sealed class Nobody : IReplicaWaiters
    {
        public bool IsWaiting(ulong requestId) => false;

        public void Complete(ulong requestId, ApplyOutcome outcome)
        {
            // Nobody waits.
        }
    }
}
