using System.Buffers.Binary;
using Google.Protobuf;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Replication;

/// <summary>
/// What goes with a change of the membership in the log: the number of the request (8 bytes, little-endian; 0: nobody waits), then the
/// <see cref="Member"/> with its addresses, or nothing when it is known already.
/// </summary>
public readonly record struct MembershipContext(ulong RequestId, Member? Member)
{
    private const int PrefixBytes = 8;

    public byte[] Encode()
    {
        byte[] bytes = new byte[PrefixBytes + (Member?.CalculateSize() ?? 0)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, RequestId);
        Member?.WriteTo(bytes.AsSpan(PrefixBytes));
        return bytes;
    }

    /// <exception cref="InvalidDataException">The bytes are neither empty nor what <see cref="Encode"/> made.</exception>
    public static MembershipContext Decode(ReadOnlyMemory<byte> bytes)
    {
        if (bytes.IsEmpty)
        {
            return default;
        }

        if (bytes.Length < PrefixBytes)
        {
            throw new InvalidDataException($"a change of the membership carries {bytes.Length} bytes that say nothing");
        }

        ReadOnlySpan<byte> member = bytes.Span[PrefixBytes..];
        return new MembershipContext(
            BinaryPrimitives.ReadUInt64LittleEndian(bytes.Span), member.IsEmpty ? null : Member.Parser.ParseFrom(member));
    }
}
