using System.Buffers.Binary;

namespace Kapell.Raft;

public enum ConfChangeKind : byte
{
    /// <summary>Adds a voter, or promotes a learner.</summary>
    AddVoter = 0,

    Remove = 1,

    /// <summary>Adds a learner, or demotes a voter.</summary>
    AddLearner = 2,
}

/// <summary>How a change of more than one voter passes through the joint configuration.</summary>
public enum ConfChangeTransition : byte
{
    /// <summary>Simple if one voter changes at most, else joint and left by itself.</summary>
    Auto = 0,

    JointImplicit = 1,

    /// <summary>Joint until an empty change is proposed.</summary>
    JointExplicit = 2,
}

public readonly record struct ConfChangeStep(ConfChangeKind Kind, MemberId Member);

/// <summary>
/// A change of the membership, as it stands in the log. No steps: leave the joint configuration. The context is the host's
/// (names and addresses of the member).
/// </summary>
public sealed record ConfChange(IReadOnlyList<ConfChangeStep> Steps, ConfChangeTransition Transition, ReadOnlyMemory<byte> Context)
{
    private const int StepsMax = 64;
    private const int StepBytes = 9;

    public static ConfChange LeaveJoint { get; } = new([], ConfChangeTransition.Auto, default);

    public bool IsLeaveJoint => Steps.Count == 0;

    public bool EntersJoint => Transition != ConfChangeTransition.Auto || Steps.Count > 1;

    public static ConfChange Of(ConfChangeKind kind, MemberId member, ReadOnlyMemory<byte> context = default) =>
        new([new ConfChangeStep(kind, member)], ConfChangeTransition.Auto, context);

    /// <summary>Transition, count, then kind and member of each step; the rest is the context. Little-endian.</summary>
    public byte[] Encode()
    {
        if (IsLeaveJoint && Context.IsEmpty && Transition == ConfChangeTransition.Auto)
        {
            // Nothing: it weighs nothing against the limit of uncommitted bytes, so a leader can always leave.
            return [];
        }

        byte[] data = new byte[2 + (Steps.Count * StepBytes) + Context.Length];
        data[0] = (byte)Transition;
        data[1] = checked((byte)Steps.Count);
        for (int i = 0; i < Steps.Count; i++)
        {
            Span<byte> step = data.AsSpan(2 + (i * StepBytes), StepBytes);
            step[0] = (byte)Steps[i].Kind;
            BinaryPrimitives.WriteUInt64LittleEndian(step[1..], Steps[i].Member.Value);
        }

        Context.Span.CopyTo(data.AsSpan(2 + (Steps.Count * StepBytes)));
        return data;
    }

    /// <summary>False when the bytes are no change of membership.</summary>
    public static bool TryDecode(ReadOnlyMemory<byte> data, out ConfChange change)
    {
        change = LeaveJoint;
        if (data.IsEmpty)
        {
            return true;
        }

        ReadOnlySpan<byte> bytes = data.Span;
        if (bytes.Length < 2 || bytes[0] > (byte)ConfChangeTransition.JointExplicit || bytes[1] > StepsMax
            || bytes.Length < 2 + (bytes[1] * StepBytes))
        {
            return false;
        }

        ConfChangeStep[] steps = new ConfChangeStep[bytes[1]];
        for (int i = 0; i < steps.Length; i++)
        {
            ReadOnlySpan<byte> step = bytes.Slice(2 + (i * StepBytes), StepBytes);
            if (step[0] > (byte)ConfChangeKind.AddLearner)
            {
                return false;
            }

            steps[i] = new ConfChangeStep((ConfChangeKind)step[0], new MemberId(BinaryPrimitives.ReadUInt64LittleEndian(step[1..])));
        }

        change = new ConfChange(steps, (ConfChangeTransition)bytes[0], data[(2 + (steps.Length * StepBytes))..]);
        return true;
    }
}
