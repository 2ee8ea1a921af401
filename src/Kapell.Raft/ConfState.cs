using System.Collections.Immutable;

namespace Kapell.Raft;

/// <summary>
/// Who votes and who learns. While <see cref="VotersOutgoing"/> is not empty the configuration is joint (Raft §6): decisions need a
/// majority of both sets of voters. All lists are ordered by id; equality is by content.
/// </summary>
public sealed record ConfState
{
    public static ConfState Empty { get; } = new();

    public ImmutableArray<MemberId> Voters { get; init; } = [];

    public ImmutableArray<MemberId> VotersOutgoing { get; init; } = [];

    public ImmutableArray<MemberId> Learners { get; init; } = [];

    /// <summary>Outgoing voters that become learners when the joint configuration is left.</summary>
    public ImmutableArray<MemberId> LearnersNext { get; init; } = [];

    /// <summary>The leader leaves the joint configuration by itself.</summary>
    public bool AutoLeave { get; init; }

    public bool IsJoint => !VotersOutgoing.IsEmpty;

    /// <summary>One voter alone, so that its own disk is the majority.</summary>
    public bool IsSingleVoter => Voters.Length == 1 && !IsJoint;

    /// <summary>No other member, not even one that learns.</summary>
    public bool IsAlone => IsSingleVoter && Learners.IsEmpty;

    public static ConfState Of(params IEnumerable<MemberId> voters) => new() { Voters = [.. voters.Distinct().Order()] };

    public bool IsVoter(MemberId id) => Voters.Contains(id) || VotersOutgoing.Contains(id);

    public bool IsMember(MemberId id) => IsVoter(id) || Learners.Contains(id) || LearnersNext.Contains(id);

    /// <summary>Everybody, ordered.</summary>
    public IEnumerable<MemberId> Members() => Voters.Concat(VotersOutgoing).Concat(Learners).Concat(LearnersNext).Distinct().Order();

    /// <summary>What it is after a change is applied; null when the change is impossible.</summary>
    public ConfState? After(ConfChange change) => ConfChanger.TryApply(this, change, out ConfState next) is null ? next : null;

    public bool Equals(ConfState? other) =>
        other is not null
        && AutoLeave == other.AutoLeave
        && Voters.SequenceEqual(other.Voters)
        && VotersOutgoing.SequenceEqual(other.VotersOutgoing)
        && Learners.SequenceEqual(other.Learners)
        && LearnersNext.SequenceEqual(other.LearnersNext);

    public override int GetHashCode()
    {
        HashCode hash = default;
        foreach (MemberId id in Members())
        {
            hash.Add(id);
        }

        return hash.ToHashCode();
    }

    public override string ToString()
    {
        static string Set(ImmutableArray<MemberId> ids) => "(" + string.Join(' ', ids) + ")";
        string text = "voters=" + Set(Voters) + (IsJoint ? "&&" + Set(VotersOutgoing) : "");
        text += Learners.IsEmpty ? "" : " learners=" + Set(Learners);
        text += LearnersNext.IsEmpty ? "" : " learners_next=" + Set(LearnersNext);
        return AutoLeave ? text + " autoleave" : text;
    }
}
