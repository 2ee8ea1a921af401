using System.Buffers.Binary;

namespace Kapell.Mvcc;

/// <summary>
/// A revision as etcd's database has it for a key: main and sub (8 bytes each, big-endian) with '_' between, and 't' behind them for a
/// deletion. etcd: mvcc/revision.go
/// </summary>
public readonly record struct RevisionKey(long Main, long Sub, bool IsTombstone)
{
    public const int BytesMax = 18;
    private const int PlainBytes = 17;

    /// <summary>How many bytes of <paramref name="into"/> were written.</summary>
    public int Write(Span<byte> into)
    {
        BinaryPrimitives.WriteInt64BigEndian(into, Main);
        into[8] = (byte)'_';
        BinaryPrimitives.WriteInt64BigEndian(into[9..], Sub);
        if (!IsTombstone)
        {
            return PlainBytes;
        }

        into[PlainBytes] = (byte)'t';
        return BytesMax;
    }

    /// <summary>False when the bytes are no revision.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out RevisionKey key)
    {
        key = default;
        bool tombstone = bytes.Length == BytesMax && bytes[PlainBytes] == (byte)'t';
        if ((bytes.Length != PlainBytes && !tombstone) || bytes[8] != (byte)'_')
        {
            return false;
        }

        key = new RevisionKey(BinaryPrimitives.ReadInt64BigEndian(bytes), BinaryPrimitives.ReadInt64BigEndian(bytes[9..]), tombstone);
        return key is { Main: >= 0, Sub: >= 0 };
    }
}
