using System.Globalization;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Client.Members;

/// <summary>The next thing to do to replace a member.</summary>
internal enum ReplacementStep
{
    /// <summary>Tell the cluster of the new member, as a learner.</summary>
    Add,

    /// <summary>Somebody must start the new member's process.</summary>
    AwaitStart,

    /// <summary>Let it vote; refused by the cluster until it has caught up.</summary>
    Promote,

    /// <summary>The dead one goes for good.</summary>
    Remove,
    Done,
    Refused,
}

/// <summary>What the operator asked for.</summary>
/// <param name="Dead">The member to be replaced.</param>
/// <param name="PeerUrls">Where the new one will listen for its peers; by these it is known again when the work is resumed.</param>
/// <param name="VotersMin">Voters that there must be before and after; 0: as many as there are.</param>
internal sealed record ReplacementWish(ulong Dead, IReadOnlyList<string> PeerUrls, int VotersMin);

/// <summary>
/// Which step comes next, from what the cluster looks like now and nothing else: so the work can be interrupted anywhere and taken up
/// again. The order is add, promote, remove: there are never fewer voters than before.
/// </summary>
/// <param name="Words">Why it is refused; otherwise empty.</param>
internal readonly record struct ReplacementPlan(ReplacementStep Step, string Words)
{
    /// <param name="alive">Of the members, those that answer.</param>
    public static ReplacementPlan Next(ReplacementWish wish, IReadOnlyList<Member> members, IReadOnlySet<ulong> alive)
    {
        Member? dead = members.FirstOrDefault(m => m.ID == wish.Dead);
        Member? fresh = members.FirstOrDefault(m => wish.PeerUrls.ToHashSet(StringComparer.Ordinal).SetEquals(m.PeerURLs));
        Member[] voters = [.. members.Where(static m => !m.IsLearner)];
        int before = voters.Count(v => v != fresh) + (dead is null ? 1 : 0);
        int living = voters.Count(v => v != dead && alive.Contains(v.ID));
        return dead is null && fresh is null ? Refuse($"there is no member {Hex(wish.Dead)}, and none with the peer addresses {string.Join(", ", wish.PeerUrls)}")
            : fresh is not null && fresh == dead ? Refuse("the new member has the peer addresses of the one to be replaced: give --peer-urls of its own")
            : dead is { IsLearner: true } ? Refuse($"member {Hex(wish.Dead)} is a learner and does not vote: remove it with `etcdctl member remove {Hex(wish.Dead)}`")
            : dead is not null && alive.Contains(wish.Dead) ? Refuse($"member {Hex(wish.Dead)} ({dead.Name}) answers: it is not dead; stop it first if it is to go")
            : before < wish.VotersMin ? Refuse($"the cluster has {before} voting members, fewer than --min-voters={wish.VotersMin}: add members instead of replacing one")
            : fresh is null ? BeforeAdding(members, voters.Length, living)
            : fresh.IsLearner ? new ReplacementPlan(fresh.Name.Length == 0 ? ReplacementStep.AwaitStart : ReplacementStep.Promote, "")
            : dead is null ? new ReplacementPlan(ReplacementStep.Done, "")
            : alive.Contains(fresh.ID) ? new ReplacementPlan(ReplacementStep.Remove, "")
            : new ReplacementPlan(ReplacementStep.AwaitStart, "");
    }

    private static ReplacementPlan BeforeAdding(IReadOnlyList<Member> members, int voters, int living)
    {
        Member? other = members.FirstOrDefault(static m => m.IsLearner);
        int quorumWithNew = ((voters + 1) / 2) + 1;
        return other is not null
                ? Refuse($"member {Hex(other.ID)} is a learner already, and there may be one at a time: promote or remove it first")
            : living < (voters / 2) + 1
                ? Refuse($"only {living} of {voters} voting members answer, which is no majority: nothing can be changed; restore a backup (kapell etcdutl restore) or use --force-new-cluster")
            : living + 1 < quorumWithNew
                ? Refuse($"only {living} of {voters} voting members answer: with one more there would be no majority while both are there")
            : new ReplacementPlan(ReplacementStep.Add, "");
    }

    public static string Hex(ulong id) => id.ToString("x", CultureInfo.InvariantCulture);

    private static ReplacementPlan Refuse(string words) => new(ReplacementStep.Refused, words);
}
