using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Raft;
using Kapell.Storage;
using Xunit;

namespace Kapell.Etcd.Tests.Hosting;

public sealed class ForcedMembershipTests
{
    private static readonly Member[] Founders = [.. Enumerable.Range(1, 3).Select(static n => new Member { ID = (ulong)n, Name = $"m{n}", PeerURLs = { $"http://m{n}:1" } })];

    [Fact]
    public void It_is_alone_with_all_that_its_log_has_and_stays_so()
    {
        MemoryDisk disk = new(new Prng(1));
        Write(disk, [Put(4, "a"), Put(5, "b")], commit: 4);
        for (int start = 0; start < 2; start++)
        {
            LoadedReplica loaded = Load(disk, force: true);
            RaftNode raft = loaded.Replica.Raft;

            // Two founders go; what was not known to be committed stays.
            Assert.Equal((7UL, 7UL), (raft.LastIndex.Value, raft.Committed.Value));
            Apply(loaded);
            Assert.Equal([1UL], raft.ConfState.Voters.Select(static v => v.Value));
            Assert.Equal([1UL], loaded.Replica.Applier.Members.All.Select(static m => m.ID));
            Assert.Equal([2UL, 3UL], loaded.Replica.Applier.Members.Removed);
            Assert.True(loaded.Replica.Applier.Store.TryGet("b"u8, 0, out _));
            loaded.Replica.Dispose();
            loaded.Log.Dispose();
        }
    }

    [Fact]
    public void A_learner_becomes_the_one_voter()
    {
        MemoryDisk disk = new(new Prng(2));
        Member learner = new() { ID = 4, Name = "m4", IsLearner = true, PeerURLs = { "http://m4:1" } };
        Write(disk, [Change(4, ConfChangeKind.AddLearner, 4, learner), Put(5, "a")], commit: 5, self: 4);
        LoadedReplica loaded = Load(disk, force: true);
        Apply(loaded);
        Assert.Equal([4UL], loaded.Replica.Raft.ConfState.Voters.Select(static v => v.Value));
        Assert.Empty(loaded.Replica.Raft.ConfState.Learners);
        Assert.False(Assert.Single(loaded.Replica.Applier.Members.All).IsLearner);
        loaded.Replica.Dispose();
        loaded.Log.Dispose();
    }

    [Fact]
    public void Who_was_removed_cannot_be_the_only_one()
    {
        MemoryDisk disk = new(new Prng(3));
        Write(disk, [Change(4, ConfChangeKind.Remove, 1, null)], commit: 4);
        InvalidDataException refused = Assert.Throws<InvalidDataException>(() => Load(disk, force: true));
        Assert.Contains("is no member of its cluster any more", refused.Message, StringComparison.Ordinal);
    }

    private static Entry Put(ulong index, string key) => new(
        new LogIndex(index), new Term(2), EntryKind.Normal, new Command(0, CommandKind.Put, new PutRequest { Key = ByteString.CopyFromUtf8(key) }).Encode());

    private static Entry Change(ulong index, ConfChangeKind kind, ulong member, Member? entry) => new(
        new LogIndex(index), new Term(2), EntryKind.ConfChange, ConfChange.Of(kind, new MemberId(member), new MembershipContext(0, entry).Encode()).Encode());

    private static LoadedReplica Load(MemoryDisk disk, bool force, ulong self = 1) => ReplicaLoader.Load(
        disk, new ReplicaSettings { DataDirectory = "/m", Founding = new Founding(9, self, Founders), ForceNewCluster = force, SegmentBytes = 16384 }, new Prng(7));

    private static void Write(MemoryDisk disk, Entry[] entries, ulong commit, ulong self = 1)
    {
        LoadedReplica begun = Load(disk, force: false, self);
        begun.Log.Append([.. entries.Select(LogRecords.Of), LogRecords.Of(new HardState(new Term(2), MemberId.None, new LogIndex(commit)))]);
        begun.Log.Sync();
        begun.Replica.Dispose();
        begun.Log.Dispose();
    }

    private static void Apply(LoadedReplica loaded)
    {
        while (loaded.Replica.Raft.HasReady)
        {
            Ready ready = loaded.Replica.TakeReady();
            if (ready.NeedsPersist)
            {
                loaded.Replica.Raft.Persisted(ready.Number);
            }

            loaded.Replica.Apply(ready.Committed, new Nobody());
        }
    }

    private sealed class Nobody : IReplicaWaiters
    {
        public bool IsWaiting(ulong requestId) => false;

        public void Complete(ulong requestId, ApplyOutcome outcome)
        {
        }
    }
}
