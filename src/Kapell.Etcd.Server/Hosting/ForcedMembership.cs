using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// Makes a member the only one of its cluster, by changes at the end of its log as if they had been committed: the last resort when the
/// majority is lost for good (<c>--force-new-cluster</c>). All of its log counts as committed: some of it may have been acknowledged by the
/// majority without this member knowing yet, and etcd, which drops that, loses it. The others must never run again: they would be told that
/// they were removed. etcd: etcdserver/bootstrap.go createConfChangeEnts
/// </summary>
internal static class ForcedMembership
{
    /// <summary>The entries to append, none when this member is alone already; they are of the next term.</summary>
    /// <param name="log">All entries after the checkpoint.</param>
    /// <exception cref="InvalidDataException">This member is none of the cluster any more.</exception>
    public static IReadOnlyList<Entry> Changes(MemberId self, CheckpointHead? head, IReadOnlyList<Entry> log, HardState state)
    {
        (ConfState conf, MemberRegistry members) = Replay(head, log);
        if (!conf.IsMember(self))
        {
            throw new InvalidDataException($"--force-new-cluster: member {self} is no member of its cluster any more; use the data of another one");
        }

        List<ConfChange> changes = [];
        if (conf.IsJoint)
        {
            changes.Add(ConfChange.LeaveJoint);
            conf = conf.After(ConfChange.LeaveJoint)!;
        }

        if (!conf.Voters.Contains(self))
        {
            // Before the voters go, for there must always be one.
            changes.Add(Change(ConfChangeKind.AddVoter, self, members));
        }

        changes.AddRange(conf.Members().Where(m => m != self).Select(m => Change(ConfChangeKind.Remove, m, members)));
        ulong last = log.Count > 0 ? log[^1].Index.Value : head?.Index ?? 0;
        Term term = new(state.Term.Value + 1);
        return [.. changes.Select((c, i) => new Entry(new LogIndex(last + 1 + (ulong)i), term, EntryKind.ConfChange, c.Encode()))];
    }

    private static ConfChange Change(ConfChangeKind kind, MemberId member, MemberRegistry members) =>
        ConfChange.Of(kind, member, new MembershipContext(0, members.Find(member.Value)).Encode());

    /// <summary>Who is a member when all of it is applied, judged as the replica judges.</summary>
    private static (ConfState Conf, MemberRegistry Members) Replay(CheckpointHead? head, IReadOnlyList<Entry> log)
    {
        ConfState conf = head is null ? ConfState.Empty : CheckpointContent.MetadataOf(head).ConfState;
        MemberRegistry members = new();
        foreach (Member member in head?.Members ?? [])
        {
            members.Set(member);
        }

        foreach (ulong removed in head?.RemovedMembers ?? [])
        {
            members.RestoreRemoved(removed);
        }

        foreach (Entry entry in log.Where(static e => e.Kind == EntryKind.ConfChange))
        {
            if (!ConfChange.TryDecode(entry.Data, out ConfChange change))
            {
                throw new InvalidDataException($"log entry {entry.Index} is no change of membership");
            }

            MembershipContext context = MembershipContext.Decode(change.Context);
            if (members.Apply(change, context) is null)
            {
                conf = conf.After(change) ?? throw new InvalidDataException($"log entry {entry.Index} changes the membership in a way that is impossible");
            }
        }

        return (conf, members);
    }
}
