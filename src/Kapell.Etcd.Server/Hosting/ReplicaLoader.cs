using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Kapell.Storage.Wal;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>What a member is to be when its directory is empty, and where that is.</summary>
public sealed record ReplicaSettings
{
    public required string DataDirectory { get; init; }

    /// <summary>For a directory that holds no member yet; null when one must be there.</summary>
    public Founding? Founding { get; init; }

    public bool PreVote { get; init; } = true;

    public int HeartbeatTicks { get; init; } = 1;

    public int ElectionTicks { get; init; } = 10;

    public int TickMilliseconds { get; init; } = 100;

    public long QuotaBytes { get; init; }

    public bool LeaseCheckpoints { get; init; }

    /// <summary>Become the only member of the cluster; see <see cref="ForcedMembership"/>.</summary>
    public bool ForceNewCluster { get; init; }

    /// <summary>How long a learner must have kept up before it may vote by itself; zero: somebody promotes it.</summary>
    public TimeSpan PromoteLearnersAfter { get; init; }

    public int SegmentBytes { get; init; } = 32 << 20;

    public long EntryBytesMax { get; init; } = 64 << 20;

    /// <summary>More are not taken in at a time.</summary>
    public int LearnersMax { get; init; } = 1;

    /// <summary>What is applied together and takes longer is named in the log and counted. etcd: embed/config.go DefaultWarningApplyDuration</summary>
    public TimeSpan SlowApplyAfter { get; init; } = SlowApplyDefault;

    public static TimeSpan SlowApplyDefault { get; } = TimeSpan.FromMilliseconds(100);

    /// <summary>What stays of the log in memory.</summary>
    public LogRetention Retention { get; init; } = new();

    /// <summary>Null: in the data directory.</summary>
    public string? DedicatedWalDirectory { get; init; }

    public string WalDirectory => DedicatedWalDirectory ?? Path.Combine(DataDirectory, "member", "wal");

    public string CheckpointDirectory => Path.Combine(DataDirectory, "member", "snap");

    // etcd: server.go, lessor.Promote
    public long LeaseGraceMilliseconds => (long)ElectionTicks * TickMilliseconds;

    // Two rounds of heartbeats may be lost. etcd: server.go isActive
    public long LeadershipProofMilliseconds => Math.Min(3L * HeartbeatTicks * TickMilliseconds, LeaseGraceMilliseconds);

    // etcd: server.go minTTL: one and a half election timeouts, rounded up to seconds.
    public long LeaseTtlSecondsMin => (long)Math.Ceiling(3.0 * ElectionTicks / 2 * TickMilliseconds / 1000);
}

/// <summary>Who a new member is, and with whom it begins.</summary>
/// <param name="Members">The founding members of a new cluster, the same at each of them; empty when joining one that exists.</param>
public sealed record Founding(ulong ClusterId, ulong MemberId, IReadOnlyList<Member> Members);

/// <summary>A member read from its disk, and its log, open for writing.</summary>
/// <param name="HardState">As the log has it.</param>
internal sealed record LoadedReplica(Replica Replica, WriteAheadLog Log, HardState HardState, bool IsNew, string Story)
{
    /// <summary>What each new segment of the log begins with; kept up to date by the log's writer.</summary>
    public required LogHead LogHead { get; init; }
}

/// <summary>The records at the head of every segment.</summary>
internal sealed class LogHead
{
    public required (ulong Cluster, ulong Member) Identity { get; set; }

    public HardState State { get; set; }

    public IReadOnlyList<WalRecord> Records() => [LogRecords.Identity(Identity.Cluster, Identity.Member), LogRecords.Of(State)];
}

/// <summary>Start: the newest checkpoint that is whole, then the tail of the log; or a new member of a new cluster.</summary>
internal static class ReplicaLoader
{
    /// <summary>Whether a member began here before.</summary>
    public static bool IsThere(IDisk disk, ReplicaSettings settings)
    {
        disk.CreateDirectory(settings.WalDirectory);
        return disk.List(settings.WalDirectory).Count > 0;
    }

    /// <exception cref="IOException">The directory cannot be read or written; the message says which file and why.</exception>
    /// <param name="adjust">For tests of settings that no flag gives.</param>
    public static LoadedReplica Load(IDisk disk, ReplicaSettings settings, Prng prng, Func<RaftConfig, RaftConfig>? adjust = null)
    {
        ulong self = settings.Founding?.MemberId ?? 0;
        ulong cluster = settings.Founding?.ClusterId ?? 0;
        CheckpointFile.ReadLatestGood(
            disk,
            settings.CheckpointDirectory,
            static reader => CheckpointContent.Read(reader),
            static content => content.Store.Dispose(),
            out IReadOnlyList<CorruptLogException> damaged,
            out LoadedCheckpoint? checkpoint);
        CheckpointHead? head = checkpoint?.Head;
        MvccStore store = checkpoint?.Store ?? new MvccStore(Task.Run);
        LogContent content = new(head?.Index ?? 0, head?.Term ?? 0);
        LogHead logHead = new() { Identity = (cluster, self) };
        WalOptions options = new() { SegmentBytes = settings.SegmentBytes, SegmentHead = logHead.Records };
        WriteAheadLog log = WriteAheadLog.Open(disk, settings.WalDirectory, options, content.Take);
        if (content.Identity is { } identity)
        {
            // The directory knows who it is; settings that changed since do not make it another member.
            (cluster, self) = identity;
            logHead.Identity = identity;
        }

        bool isNew = content.Judge(head, damaged, settings);
        if (settings.ForceNewCluster && !isNew)
        {
            content.BeAlone(new MemberId(self), head, log);
        }

        logHead.State = content.State;
        HardState state = content.State;
        if (head is not null && state.Commit.Value < head.Index)
        {
            state = state with { Commit = new LogIndex(head.Index) };
        }

        RaftConfig config = new()
        {
            Id = new MemberId(self),
            Prng = prng,
            ElectionTicks = settings.ElectionTicks,
            HeartbeatTicks = settings.HeartbeatTicks,
            PreVote = settings.PreVote,
        };
        RaftStart start = new() { HardState = state, Entries = content.Entries };
        if (head is not null)
        {
            start = start with { Snapshot = CheckpointContent.MetadataOf(head) };
        }

        RaftNode raft = new(adjust?.Invoke(config) ?? config, start);
        Applier applier = new(store, settings.LeaseTtlSecondsMin);
        if (head is not null)
        {
            MembershipCheck.Verify(head, settings.CheckpointDirectory);
            applier.Restore(head);
        }

        if (isNew)
        {
            BeginLog(log, logHead, raft, settings.Founding!.Members);
        }

        // At every start: the newest segment may have lost its head in a crash, and the older ones that still say this may be released.
        log.Append(logHead.Records());
        log.Sync();

        LogPosition applied = head is null ? default : new LogPosition(new Term(head.Term), new LogIndex(head.Index));
        Replica replica = new(raft, applier, cluster, applied, settings.QuotaBytes)
        {
            Retention = settings.Retention,
            LeaseCheckpoints = settings.LeaseCheckpoints,
            LeaseGraceMilliseconds = settings.LeaseGraceMilliseconds,
            LeadershipProofMilliseconds = settings.LeadershipProofMilliseconds,
            Promotion = new LearnerPromotion((int)Math.Ceiling(settings.PromoteLearnersAfter.TotalMilliseconds / settings.TickMilliseconds), settings.ElectionTicks),
        };
        string story = isNew ? "new member" : $"checkpoint at {applied.Index}, {content.Entries.Count} entries of the log after it"
            + (log.Recovery.TornFile is null ? "" : $", torn end of {log.Recovery.TornFile} cut at {log.Recovery.TornOffset}");
        return new LoadedReplica(replica, log, state, isNew, story) { LogHead = logHead };
    }

    /// <summary>
    /// The founders, and who this is as the last: a crash on the way leaves either a member with all of its beginning or none.
    /// </summary>
    private static void BeginLog(WriteAheadLog log, LogHead head, RaftNode raft, IReadOnlyList<Member> founders)
    {
        ConfChange[] changes = [.. founders.Select(static m =>
            ConfChange.Of(ConfChangeKind.AddVoter, new MemberId(m.ID), new MembershipContext(0, m).Encode()))];
        if (changes.Length > 0)
        {
            raft.Bootstrap(changes);
            head.State = new HardState(raft.Term, MemberId.None, raft.LastIndex);
        }

        IEnumerable<Entry> entries = changes.Select((c, i) => new Entry(new LogIndex((ulong)i + 1), raft.Term, EntryKind.ConfChange, c.Encode()));
        log.Append([.. entries.Select(LogRecords.Of), .. head.Records().Reverse()]);
        log.Sync();
    }

    /// <summary>What the log says, after the checkpoint.</summary>
    internal sealed class LogContent(ulong checkpointIndex, ulong checkpointTerm)
    {
        // Null: the log says nothing of it.
        private ulong? _termAtCheckpoint;

        public List<Entry> Entries { get; } = [];

        public HardState State { get; private set; }

        public (ulong Cluster, ulong Member)? Identity { get; private set; }

        /// <summary>Whether log and checkpoint are of one member and make one history.</summary>
        /// <param name="damaged">Checkpoints that are, for when what is missing was in them.</param>
        /// <returns>Whether it is of a first start that did not come to its end.</returns>
        /// <exception cref="IOException">They do not, or something is missing.</exception>
        public bool Judge(CheckpointHead? head, IReadOnlyList<CorruptLogException> damaged, ReplicaSettings settings)
        {
            bool isNew = Identity is null;
            if (isNew)
            {
                // A first start that did not come to its end promised nothing to anybody. One that goes beyond that has lost its beginning.
                if (head is not null || State.Term.Value > 1 || !State.Vote.IsNone)
                {
                    throw new CorruptLogException(settings.WalDirectory, 0, "it does not say whose it is, and it is not of a first start");
                }

                Entries.Clear();
                State = default;
            }

            Verify(damaged, settings.WalDirectory);
            if (isNew && settings.Founding is null)
            {
                throw new InvalidDataException(
                    $"{settings.WalDirectory} holds a log that was begun and never says whose it is; remove {settings.DataDirectory} and start anew");
            }

            return head is null || Identity is not { } identity || head.ClusterId == identity.Cluster ? isNew : throw new InvalidDataException(
                $"{settings.CheckpointDirectory} is of cluster {head.ClusterId:x}, the log beside it of cluster {identity.Cluster:x}");
        }

        /// <summary>Adds what makes this member the only one, on the disk too, and counts all before it as committed.</summary>
        public void BeAlone(MemberId self, CheckpointHead? head, WriteAheadLog log)
        {
            IReadOnlyList<Entry> changes = ForcedMembership.Changes(self, head, Entries, State);
            if (changes.Count == 0)
            {
                return;
            }

            Entries.AddRange(changes);
            State = new HardState(changes[^1].Term, MemberId.None, changes[^1].Index);
            log.Append([.. changes.Select(LogRecords.Of), LogRecords.Of(State)]);
            log.Sync();
        }

        public void Take(WalRecord record)
        {
            switch (record.Type)
            {
                case LogRecords.EntryType:
                    Take(LogRecords.ToEntry(record));
                    break;
                case LogRecords.CheckpointType:
                    Entries.Clear();
                    _termAtCheckpoint = LogRecords.ToCheckpoint(record) is var position && position.Index.Value == checkpointIndex
                        ? position.Term.Value : _termAtCheckpoint;
                    break;
                case LogRecords.StateType:
                    State = LogRecords.ToState(record);
                    break;
                case LogRecords.IdentityType:
                    Identity = LogRecords.ToIdentity(record);
                    break;
                default:
                    throw new InvalidDataException($"the write-ahead log holds a record of the unknown type {record.Type}");
            }
        }

        private void Verify(IReadOnlyList<CorruptLogException> damaged, string directory)
        {
            if (_termAtCheckpoint is { } term && term != checkpointTerm)
            {
                // The checkpoint came from a leader and says otherwise: what the log has from there on was never committed (Raft §7).
                Entries.Clear();
            }

            if (Entries.Count > 0 && Entries[0].Index.Value != checkpointIndex + 1)
            {
                throw damaged.Count > 0 ? damaged[0] : new CorruptLogException(
                    directory, 0, $"the log begins at entry {Entries[0].Index}, but the newest checkpoint ends at {checkpointIndex}");
            }

            if (State.Commit.Value > checkpointIndex + (ulong)Entries.Count)
            {
                throw damaged.Count > 0 ? damaged[0] : new CorruptLogException(
                    directory, 0, $"entry {State.Commit} was committed, but the log ends at {checkpointIndex + (ulong)Entries.Count}");
            }
        }

        private void Take(Entry entry)
        {
            if (entry.Index.Value <= checkpointIndex)
            {
                _termAtCheckpoint = entry.Index.Value == checkpointIndex ? entry.Term.Value : _termAtCheckpoint;

                // As below: what was read before of a later index is void, also when the checkpoint has this one.
                Entries.Clear();
                return;
            }

            // Another entry at an index written before voids what stood there and after it; the same one, by index and term, nothing (Raft
            // §5.3): the founders' are written twice, and the second time may be torn.
            ulong first = Entries.Count == 0 ? entry.Index.Value : Entries[0].Index.Value;
            if (entry.Index.Value < first || entry.Index.Value - first > (ulong)Entries.Count)
            {
                throw new InvalidDataException($"the write-ahead log has entry {entry.Index} after {Entries[^1].Index}");
            }

            int at = (int)(entry.Index.Value - first);
            if (at < Entries.Count && Entries[at].Term == entry.Term)
            {
                return;
            }

            Entries.RemoveRange(at, Entries.Count - at);
            Term before = at > 0 ? Entries[^1].Term : default;
            if (entry.Term < before)
            {
                throw new InvalidDataException($"the write-ahead log has entry {entry.Index} of term {entry.Term} after one of term {before}");
            }

            Entries.Add(entry);
        }
    }
}
