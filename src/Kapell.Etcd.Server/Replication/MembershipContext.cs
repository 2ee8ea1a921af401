using System.Buffers.Binary;
using Google.Protobuf;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Replication;

/// <summary>
/// What goes with a change of the membership in the log: the number of the request (8 bytes, little-endian; 0: nobody waits), then the
/// <see cref="Member"/> with its addresses, or nothing when it is known already, and behind it the bound of learners unless it is one.
/// </summary>
public readonly record struct MembershipContext(ulong RequestId, Member? Member)
{
    /// <summary>In the log, so that every member judges by that of the one that was asked.</summary>
    public int LearnersMax { get; init; } = 1;

    private const int PrefixBytes = 8;
    private static readonly MessageParser<Member> Members = Member.Parser.WithDiscardUnknownFields(true);
    private static readonly MessageParser<LearnersBound> Bounds = LearnersBound.Parser.WithDiscardUnknownFields(true);

    public byte[] Encode()
    {
        // Two messages in a row are one with the fields of both: who does not know the second passes over it.
        LearnersBound? bound = LearnersMax == 1 || Member is null ? null : new LearnersBound { Max = (uint)LearnersMax };
        int memberBytes = Member?.CalculateSize() ?? 0;
        byte[] bytes = new byte[PrefixBytes + memberBytes + (bound?.CalculateSize() ?? 0)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, RequestId);
        Member?.WriteTo(bytes.AsSpan(PrefixBytes, memberBytes));
        bound?.WriteTo(bytes.AsSpan(PrefixBytes + memberBytes));
        return bytes;
    }

    /// <exception cref="InvalidDataException">The bytes are neither empty nor what <see cref="Encode"/> made.</exception>
    public static MembershipContext Decode(ReadOnlyMemory<byte> bytes)
    {
        if (bytes.IsEmpty)
        {
            return new MembershipContext(0, null);
        }

        if (bytes.Length < PrefixBytes)
        {
            throw new InvalidDataException($"a change of the membership carries {bytes.Length} bytes that say nothing");
        }

        ReadOnlySpan<byte> member = bytes.Span[PrefixBytes..];
        ulong request = BinaryPrimitives.ReadUInt64LittleEndian(bytes.Span);
        if (member.IsEmpty)
        {
            return new MembershipContext(request, null);
        }

        LearnersBound bound = Bounds.ParseFrom(member);
        return new MembershipContext(request, Members.ParseFrom(member)) { LearnersMax = bound.HasMax ? (int)Math.Min(bound.Max, int.MaxValue) : 1 };
    }
}
