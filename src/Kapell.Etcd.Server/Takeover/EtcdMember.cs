using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Snapshots;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>A member as etcd left it, in our terms.</summary>
/// <param name="State">Term, vote and commit exactly as the log has them; the commit is at least what the database holds.</param>
/// <param name="Head">Everything but the keys at the entry up to which the database is; its index is 0 when the database holds nothing.</param>
/// <param name="Entries">All entries after that, committed or not: one that was acknowledged may be among those that are not known to be.</param>
internal sealed record EtcdMember(ulong Cluster, ulong Id, HardState State, CheckpointHead Head, IReadOnlyList<Entry> Entries)
{
    public required MvccStore Store { get; init; }

    /// <summary>What somebody who looks on should know, in words.</summary>
    public required IReadOnlyList<string> Remarks { get; init; }
}

/// <summary>
/// Reads a member that etcd 3.4 to 3.6 wrote: database, log and snapshots. The database holds what was applied up to its consistent index. The
/// members at that index are those of the newest snapshot and of the entries since, for only there they belong to an entry: in the database
/// of 3.4 they may be ahead of it. etcd: etcdserver/bootstrap.go
/// </summary>
/// <param name="learnersMax">How many learners etcd took in at a time: its --max-learners.</param>
internal sealed class EtcdMemberReader(IDisk disk, string snapshots, string log, int learnersMax)
{
    private readonly List<string> _remarks = [];

    /// <exception cref="TakeoverException">Something is damaged or contradicts the rest.</exception>
    /// <exception cref="IOException">It cannot be read, or the database is damaged.</exception>
    public EtcdMember Read(string databasePath)
    {
        EtcdLogReader reader = new(disk, log);
        EtcdLogOverview overview = reader.ReadOverview();
        if (overview.Torn is { } torn)
        {
            _remarks.Add($"the log ends in a write that a crash stopped, in {torn}: what is before it counts");
        }

        EtcdMembership membership = EtcdSnapshotFiles.ReadNewest(
            disk, snapshots, overview.Snapshots, bad => _remarks.Add($"passed over a damaged snapshot: {bad}"));
        using IDiskFile file = disk.Open(Database(databasePath, membership.Position, out string path), DiskOpen.Read);
        DatabaseReader database = new(file, path, file.Length);
        RefuseNewer(database, path);
        ulong at = Applied(database, path, membership.Position);
        List<EtcdEntry> raw = reader.ReadEntries(membership.Position.Index.Value, e => e.Index > at || EntryTranslator.ConcernsMembers(e));
        ulong last = membership.Position.Index.Value + (ulong)raw.Count;
        HardState state = State(overview.State, at, last, raw.Count > 0 ? raw[^1].Term : membership.Position.Term.Value);
        EntryTranslator translator = new(overview.Cluster, log) { LearnersMax = learnersMax };
        int before = (int)(at - membership.Position.Index.Value);
        CheckpointHead head = HeadAt(overview.Cluster, membership, raw.Take(before).Select(translator.Translate), raw);
        List<Entry> entries = [.. raw.Skip(before).Select(translator.Translate)];
        if (membership.HasUserKeys || translator.UserRequestsV2 > 0)
        {
            _remarks.Add("it holds keys of the API of version 2, which is not served here: they stay in the old directory only");
        }

        head.Auth = database.ReadAuth();
        head.Alarms.AddRange(database.ReadAlarms());
        head.Leases.AddRange(database.ReadTimesLeft());
        return new EtcdMember(overview.Cluster, overview.Member, state, head, entries)
        {
            Store = at == 0 ? new MvccStore() : database.ReadStore(),
            Remarks = _remarks,
        };
    }

    /// <summary>
    /// A leader's database may lie beside the old one, when etcd ended between writing down that it has it and putting it in place.
    /// etcd: storage/backend.go RecoverSnapshotBackend
    /// </summary>
    private string Database(string usual, LogPosition snapshot, out string path)
    {
        path = usual;
        if (snapshot.Index.Value == 0)
        {
            return path;
        }

        ulong at;
        using (IDiskFile file = disk.Open(usual, DiskOpen.Read))
        {
            at = new DatabaseReader(file, usual, file.Length).ReadConsistentIndex();
        }

        string sent = $"{snapshot.Index.Value:x16}.snap.db";
        if (at < snapshot.Index.Value && disk.List(snapshots).Contains(sent))
        {
            path = Path.Combine(snapshots, sent);
            _remarks.Add($"the database is the one that the leader had sent, {sent}");
        }

        return path;
    }

    private static void RefuseNewer(DatabaseReader database, string path)
    {
        string version = database.ReadStorageVersion();
        if (version.Length > 0 && (!Version.TryParse(version, out Version? parsed) || parsed >= new Version(3, 8)))
        {
            throw new TakeoverException($"{path} is of storage version {version}, which this version does not know");
        }
    }

    private ulong Applied(DatabaseReader database, string path, LogPosition snapshot)
    {
        ulong at = database.ReadConsistentIndex();
        if (at >= snapshot.Index.Value)
        {
            return at;
        }

        if (at != 0)
        {
            throw new TakeoverException($"database file ({path} index {at}) does not match with snapshot (index {snapshot.Index})");
        }

        // As etcd does: before 3.5 not everything that is written writes down the index. etcd: "consistent index was never saved"
        _remarks.Add($"the database does not say how far it is: it counts as of the snapshot at entry {snapshot.Index}");
        return snapshot.Index.Value;
    }

    private HardState State(EtcdHardState said, ulong applied, ulong last, ulong lastTerm)
    {
        if (applied > last || said.Commit > last)
        {
            throw new TakeoverException(
                $"{log} ends at entry {last}, but entry {Math.Max(applied, said.Commit)} was {(applied > last ? "applied" : "committed")}: its end is lost");
        }

        if (said.Term < lastTerm || said.Term == 0)
        {
            throw new TakeoverException($"{log} holds an entry of term {lastTerm}, but this member never was beyond term {said.Term}");
        }

        // What is applied was committed; etcd writes the commit down a little later than it applies.
        return new HardState(new Term(said.Term), new MemberId(said.Vote), new LogIndex(Math.Max(said.Commit, applied)));
    }

    private CheckpointHead HeadAt(ulong cluster, EtcdMembership from, IEnumerable<Entry> before, List<EtcdEntry> raw)
    {
        ConfState conf = from.Conf;
        LogPosition at = from.Position;
        foreach (Entry entry in before)
        {
            conf = Take(entry, conf, from.Members);
            at = entry.Position;
        }

        CheckpointHead head = new() { ClusterId = cluster, Index = at.Index.Value, Term = at.Term.Value, AutoLeave = conf.AutoLeave };
        head.Voters.AddRange(conf.Voters.Select(static m => m.Value));
        head.VotersOutgoing.AddRange(conf.VotersOutgoing.Select(static m => m.Value));
        head.Learners.AddRange(conf.Learners.Select(static m => m.Value));
        head.LearnersNext.AddRange(conf.LearnersNext.Select(static m => m.Value));
        head.Members.AddRange(from.Members.All);
        head.RemovedMembers.AddRange(from.Members.Removed);
        try
        {
            MembershipCheck.Verify(head, log);
        }
        catch (InvalidDataException e)
        {
            throw new TakeoverException(e.Message.TrimEnd('.'));
        }

        return head;
    }

    /// <summary>What an entry does to the membership, judged as a replica judges.</summary>
    private ConfState Take(Entry entry, ConfState conf, MemberRegistry members)
    {
        if (entry.Kind == EntryKind.Normal)
        {
            TakeAddresses(entry, members);
            return conf;
        }

        if (!ConfChange.TryDecode(entry.Data, out ConfChange change))
        {
            throw new TakeoverException($"{log}: entry {entry.Index} is no change of membership");
        }

        MembershipContext context = MembershipContext.Decode(change.Context);
        return members.Apply(change, context) is not null ? conf
            : conf.After(change) ?? throw new TakeoverException($"{log}: entry {entry.Index} changes the membership in a way that is impossible");
    }

    private static void TakeAddresses(Entry entry, MemberRegistry members)
    {
        if (entry.Data.IsEmpty || Command.Decode(entry.Data.Span) is not { Request: Member said } command)
        {
            return;
        }

        if (command.Kind == CommandKind.MemberUpdate)
        {
            members.UpdatePeerUrls(said);
        }
        else
        {
            members.SetAttributes(said);
        }
    }
}
