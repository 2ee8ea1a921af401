namespace Kapell.Raft;

/// <summary>A look inside, for metrics and for deciding whether a learner has caught up.</summary>
public sealed record RaftStatus
{
    public required MemberId Id { get; init; }

    public required SoftState SoftState { get; init; }

    public required HardState HardState { get; init; }

    public required ConfState ConfState { get; init; }

    public required LogIndex Applied { get; init; }

    public required LogIndex Durable { get; init; }

    public required LogPosition Last { get; init; }

    public required LogIndex First { get; init; }

    /// <summary>Who is to become leader by a transfer under way; none when there is none.</summary>
    public required MemberId Successor { get; init; }

    /// <summary>Only a leader knows these; empty elsewhere.</summary>
    public required IReadOnlyList<MemberProgress> Members { get; init; }
}

public readonly record struct MemberProgress(
    MemberId Id, ProgressState State, LogIndex Match, LogIndex Next, bool RecentActive, bool IsLearner);
