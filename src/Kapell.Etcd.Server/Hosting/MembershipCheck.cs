using System.Globalization;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// A checkpoint names the members with their addresses, and who of them votes. Both come from the same entries of the log, so they must
/// agree; where two stores of one truth parted, etcd had members that came back from the dead (etcd-io/etcd#20967).
/// </summary>
internal static class MembershipCheck
{
    /// <exception cref="InvalidDataException">They do not; the message says which members.</exception>
    public static void Verify(CheckpointHead head, string directory)
    {
        // Between the halves of a joint configuration a member may be in one and not in the other; before the founders are all applied, too.
        if (head.VotersOutgoing.Count > 0 || head.Members.Count == 0)
        {
            return;
        }

        ulong[] configured = [.. head.Voters.Concat(head.Learners).Order()];
        ulong[] named = [.. head.Members.Select(static m => m.ID).Order()];
        ulong[] learners = [.. head.Members.Where(static m => m.IsLearner).Select(static m => m.ID).Order()];
        ulong[] removed = [.. named.Intersect(head.RemovedMembers)];
        string? wrong = !configured.SequenceEqual(named) ? $"members {Ids(named)}, but voters and learners {Ids(configured)}"
            : !learners.SequenceEqual(head.Learners.Order()) ? $"{Ids(learners)} as learners, but in the configuration {Ids(head.Learners)}"
            : removed.Length > 0 ? $"{Ids(removed)} as members and as removed for good"
            : null;
        if (wrong is not null && head.Index > (ulong)configured.Length)
        {
            throw new InvalidDataException(
                $"the newest checkpoint in {directory} (entry {head.Index}) contradicts itself: it has {wrong}. This member must not take part; remove it from "
                + "the cluster and add it anew");
        }
    }

    private static string Ids(IEnumerable<ulong> ids) => "[" + string.Join(" ", ids.Select(static i => i.ToString("x", CultureInfo.InvariantCulture))) + "]";
}
