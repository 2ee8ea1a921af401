using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Takeover;
using Kapell.Raft;
using Kapell.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Kapell.Etcd.Tests.Takeover;

/// <summary>Directories that were written as etcd writes them become ours, or are refused and stay as they are.</summary>
public sealed class TakeoverTests
{
    private static readonly FileDisk Disk = new();

    [Fact]
    public void What_was_applied_is_the_checkpoint_and_all_entries_after_it_are_the_log()
    {
        using EtcdDirectory etcd = Usual();
        Run(etcd);
        LoadedReplica loaded = Load(etcd);
        using Replica replica = loaded.Replica;
        using IDisposable log = loaded.Log;

        // Term and vote exactly; the commit is what was applied although the log said less.
        Assert.Equal((new Term(3), new MemberId(0xb2), new LogIndex(4)), (loaded.HardState.Term, loaded.HardState.Vote, loaded.HardState.Commit));
        Assert.Equal((EtcdDirectory.Cluster, EtcdDirectory.Member), (replica.ClusterId, replica.Raft.Id.Value));
        Assert.Equal(new LogPosition(new Term(2), new LogIndex(4)), replica.AppliedPosition);
        Assert.Equal(new LogPosition(new Term(3), new LogIndex(6)), new LogPosition(replica.Raft.Term, replica.Raft.LastIndex));
        Assert.Equal(3, replica.Applier.Store.Revision);
        Assert.Equal([(EtcdDirectory.Member, AlarmType.Corrupt)], replica.Applier.Alarms);
        Assert.Equal([(9L, 100L)], replica.Applier.Store.Leases.Remembered());
        Member member = Assert.Single(replica.Applier.Members.All);
        Assert.Equal(("named", "http://127.0.0.1:2380", "http://c:1"), (member.Name, member.PeerURLs.Single(), member.ClientURLs.Single()));
    }

    [Fact]
    public void The_old_files_are_kept_under_another_name()
    {
        using EtcdDirectory etcd = Usual();
        byte[] before = File.ReadAllBytes(etcd.FirstSegment);
        Run(etcd);
        string old = Path.Combine(etcd.Path, "member.etcd");
        Assert.Equal(before, File.ReadAllBytes(Path.Combine(old, "wal", Path.GetFileName(etcd.FirstSegment))));
        Assert.True(File.Exists(Path.Combine(old, "snap", "db")));
        Run(etcd); // Nothing is left to do.
        Assert.Equal(["member", "member.etcd"], Directory.GetDirectories(etcd.Path).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void The_members_are_those_of_the_snapshot_and_of_the_entries_since()
    {
        using EtcdDirectory etcd = new();
        etcd.WriteSnapshot(10, 2);
        etcd.Entry(11, 2, EtcdDirectory.ConfChange(3, 0xb2, """{"id":178,"peerURLs":["http://p:2"],"isLearner":true}"""), type: 1);
        etcd.Entry(12, 2, EtcdDirectory.ConfChange(2, EtcdDirectory.Member, """{"id":161,"peerURLs":["http://p:3"]}"""), type: 1);
        etcd.State(2, EtcdDirectory.Member, 12);
        etcd.WriteLog();
        etcd.WriteDatabase(12, "a");
        Run(etcd);
        LoadedReplica loaded = Load(etcd);
        using Replica replica = loaded.Replica;
        using IDisposable log = loaded.Log;
        Assert.Equal(["a1 n http://p:3 False", "b2  http://p:2 True"], replica.Applier.Members.All.Select(static m => $"{m.ID:x} {m.Name} {m.PeerURLs[0]} {m.IsLearner}"));
        Assert.Equal("voters=(a1) learners=(b2)", replica.Raft.ConfState.ToString());
        Assert.Equal([0xbadUL], replica.Applier.Members.Removed);
    }

    [Fact]
    public void A_write_that_a_crash_stopped_at_the_end_is_passed_over()
    {
        using EtcdDirectory etcd = Usual(out int last);
        etcd.WriteLog(cutAt: last + 20);
        Run(etcd);
        LoadedReplica loaded = Load(etcd);
        using Replica replica = loaded.Replica;
        using IDisposable log = loaded.Log;
        Assert.Equal(6UL, replica.Raft.LastIndex.Value);
    }

    [Fact]
    public void A_damaged_log_is_refused_with_file_offset_and_reason_and_nothing_is_changed()
    {
        using EtcdDirectory etcd = Usual(out int last);
        etcd.WriteLog(damage: bytes => bytes[last + 30] ^= 1);
        TakeoverException refusal = Assert.Throws<TakeoverException>(() => Run(etcd));
        Assert.Contains($"{etcd.FirstSegment} cannot be taken over from etcd: at offset {last}: walpb: crc mismatch", refusal.Message, StringComparison.Ordinal);
        Assert.True(File.Exists(etcd.FirstSegment));
        Assert.False(Directory.Exists(Path.Combine(etcd.Path, "member.etcd")));
    }

    [Fact]
    public void Impossible_logs_are_refused()
    {
        Refused("max entry size limit exceeded", static etcd => etcd.WriteLog(damage: static bytes => bytes[20] = 0xFF), atFirst: true);
        Refused("wal: slice bounds out of range: entry 9 after entry 6", static etcd => etcd.Entry(9, 3, []));
        Refused("entry 7 of term 1 after one of term 3", static etcd => etcd.Entry(7, 1, []));
        Refused("entry 9 was committed: its end is lost", static etcd => etcd.State(3, 0xb2, 9));
        Refused("this member never was beyond term 3", static etcd => etcd.Entry(7, 9, []));
        Refused("unexpected block type 17", static etcd => etcd.Record(17, [1]));
        Refused("wal: conflicting metadata found", static etcd => etcd.Record(1, new EtcdLogIdentity { NodeId = 5, ClusterId = 6 }.ToByteArray()));
        Refused("entry 7 is not understood", static etcd => etcd.Entry(7, 3, [0xEA, 0x7F, 1, 0]));
        Refused("entry 7 is not understood: it grants a lease", static etcd => etcd.Entry(7, 3, new EtcdRequest { LeaseGrant = new LeaseGrantRequest { TTL = 5 } }.ToByteArray()));
        Refused("was applied: its end is lost", static etcd => etcd.WriteDatabase(99, "a"));
    }

    [Fact]
    public void An_interrupted_takeover_is_begun_anew_or_brought_to_its_end()
    {
        using EtcdDirectory etcd = Usual();
        Directory.CreateDirectory(Path.Combine(etcd.Path, "member.takeover", "snap"));
        File.WriteAllText(Path.Combine(etcd.Path, "member.takeover", "snap", "0000000000000001.checkpoint"), "half");
        Run(etcd);
        Assert.False(Directory.Exists(Path.Combine(etcd.Path, "member.takeover")));

        // A crash after the first renaming: there is no member, and the new one waits.
        Directory.Move(Path.Combine(etcd.Path, "member"), Path.Combine(etcd.Path, "member.takeover"));
        File.WriteAllText(Path.Combine(etcd.Path, "member.takeover", "complete"), "member.etcd\n\n");
        Run(etcd);
        LoadedReplica loaded = Load(etcd);
        using Replica replica = loaded.Replica;
        using IDisposable log = loaded.Log;
        Assert.Equal(4UL, replica.AppliedPosition.Index.Value);
    }

    [Fact]
    public void A_log_in_a_directory_of_its_own_changes_there()
    {
        using EtcdDirectory etcd = Usual();
        string dedicated = Path.Combine(etcd.Path, "log");
        Directory.Move(etcd.Wal, dedicated);
        ReplicaSettings settings = etcd.Settings with { DedicatedWalDirectory = dedicated };
        EtcdTakeover.Run(Disk, settings, NullLogger.Instance);
        Assert.True(File.Exists(Path.Combine(dedicated, "etcd", Path.GetFileName(etcd.FirstSegment))));
        LoadedReplica loaded = ReplicaLoader.Load(Disk, settings, new Prng(1));
        using Replica replica = loaded.Replica;
        using IDisposable log = loaded.Log;
        Assert.Equal(6UL, replica.Raft.LastIndex.Value);
    }

    [Fact]
    public void A_database_that_a_running_etcd_holds_is_left_alone()
    {
        using EtcdDirectory etcd = Usual();
        using FileStream running = new(Path.Combine(etcd.Snap, "db"), FileMode.Open, FileAccess.ReadWrite, FileShare.None);
        Assert.Contains("is in use by another process: stop etcd first", Assert.Throws<TakeoverException>(() => Run(etcd)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_password_in_the_log_has_one_hash_at_every_member()
    {
        string hash = PasswordHash.Of("secret", 0xc1, 17);
        Assert.Equal(hash, PasswordHash.Of("secret", 0xc1, 17));
        Assert.NotEqual(hash, PasswordHash.Of("secret", 0xc1, 18));
        Assert.True(BCrypt.Net.BCrypt.Verify("secret", System.Text.Encoding.ASCII.GetString(Convert.FromBase64String(hash))));
    }

    /// <summary>Applied to entry 4 of 6; of the last two one was written again by the leader of the next term.</summary>
    private static EtcdDirectory Usual() => Usual(out _);

    private static EtcdDirectory Usual(out int last)
    {
        EtcdDirectory etcd = new();
        etcd.Found();
        etcd.Entry(2, 2, new EtcdRequestV2 { Id = 3, Method = "PUT", Path = "/0/members/a1/attributes", Val = """{"name":"named","clientURLs":["http://c:1"]}""" }.ToByteArray());
        etcd.Entry(3, 2, EtcdDirectory.Put("a", "old"));
        etcd.Entry(4, 2, EtcdDirectory.Put("b", "old"));
        etcd.State(2, EtcdDirectory.Member, 3);
        etcd.Entry(5, 2, EtcdDirectory.Put("lost", "never committed"));
        etcd.Entry(5, 3, EtcdDirectory.Put("c", "new"));
        etcd.Entry(6, 3, EtcdDirectory.Put("d", "new"));
        etcd.State(3, 0xb2, 3);
        last = etcd.Offset;
        etcd.Entry(7, 3, EtcdDirectory.Put("cut", new string('x', 2000)));
        etcd.WriteDatabase(4, "a", "b");
        etcd.WriteLog(cutAt: last);
        return etcd;
    }

    private static void Refused(string reason, Action<EtcdDirectory> change, bool atFirst = false)
    {
        using EtcdDirectory etcd = new();
        etcd.Found();
        for (ulong i = 2; i <= 6; i++)
        {
            etcd.Entry(i, i < 5 ? 2UL : 3, EtcdDirectory.Put("a", "b"));
        }

        etcd.State(3, 0xb2, 4);
        etcd.WriteDatabase(4, "a", "b");
        change(etcd);
        if (!atFirst)
        {
            etcd.WriteLog();
        }

        Assert.Contains(reason, Assert.Throws<TakeoverException>(() => Run(etcd)).Message, StringComparison.Ordinal);
        Assert.True(File.Exists(etcd.FirstSegment));
    }

    private static void Run(EtcdDirectory etcd) => EtcdTakeover.Run(Disk, etcd.Settings, NullLogger.Instance);

    private static LoadedReplica Load(EtcdDirectory etcd) => ReplicaLoader.Load(Disk, etcd.Settings, new Prng(1));
}
