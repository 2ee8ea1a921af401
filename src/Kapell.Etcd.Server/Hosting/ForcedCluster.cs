using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// --force-new-cluster: a member whose others are lost for good goes on alone, with everything that it knows to be committed. What it only
/// has in its log is given up, and entries that put all others out stand behind, as committed. etcd: server/etcdserver/bootstrap.go
/// (bootstrapWALFromSnapshot with ForceNewCluster), raft.go createConfChangeEnts
/// </summary>
internal static class ForcedCluster
{
    /// <summary>What is to be appended behind the last committed entry; empty when this is the only member already.</summary>
    /// <param name="self">This member.</param>
    /// <param name="head">The checkpoint that the log goes on from; null when there is none.</param>
    /// <param name="entries">Behind the checkpoint, committed.</param>
    /// <param name="state">Its commit is the last of them.</param>
    /// <exception cref="InvalidDataException">This member is none of the cluster.</exception>
    public static IReadOnlyList<Entry> Append(MemberId self, CheckpointHead? head, IReadOnlyList<Entry> entries, HardState state)
    {
        SortedSet<MemberId> voters = [.. head?.Voters.Select(static id => new MemberId(id)) ?? []];
        SortedSet<MemberId> learners = [.. head?.Learners.Select(static id => new MemberId(id)) ?? []];
        bool removed = head?.RemovedMembers.Contains(self.Value) ?? false;
        foreach (Entry entry in entries.Where(static e => e.Kind == EntryKind.ConfChange))
        {
            if (!ConfChange.TryDecode(entry.Data, out ConfChange change))
            {
                continue;
            }

            foreach (ConfChangeStep step in change.Steps)
            {
                voters.Remove(step.Member);
                learners.Remove(step.Member);
                removed |= step.Kind == ConfChangeKind.Remove && step.Member == self;
                if (step.Kind != ConfChangeKind.Remove)
                {
                    (step.Kind == ConfChangeKind.AddVoter ? voters : learners).Add(step.Member);
                }
            }
        }

        if (removed || !(voters.Contains(self) || learners.Contains(self)))
        {
            throw new InvalidDataException("--force-new-cluster: this member is none of the cluster's any more, and it cannot know what was written after it went");
        }

        List<ConfChange> changes = [];
        if (!voters.Contains(self))
        {
            // It must vote before the last of the others goes.
            changes.Add(Change(ConfChangeKind.AddVoter, self));
        }

        changes.AddRange(learners.Concat(voters).Where(id => id != self).Select(static id => Change(ConfChangeKind.Remove, id)));
        ulong next = state.Commit.Value + 1;
        return [.. changes.Select((change, i) => new Entry(new LogIndex(next + (ulong)i), state.Term, EntryKind.ConfChange, change.Encode()))];
    }

    private static ConfChange Change(ConfChangeKind kind, MemberId member) => ConfChange.Of(kind, member, new MembershipContext(0, null).Encode());
}
