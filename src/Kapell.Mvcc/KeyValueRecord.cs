using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>
/// One stored pair, read in place. The record is the protobuf encoding of mvccpb.KeyValue, ready to be copied into a response:
/// key = 1, create_revision = 2, mod_revision = 3, version = 4, value = 5, lease = 6; zeros are left out. A tombstone has only
/// key and mod_revision, which is what a watcher is told of a deletion.
/// </summary>
public readonly ref struct KeyValueRecord
{
    private const byte KeyTag = (1 << 3) | 2;
    private const byte CreateTag = 2 << 3;
    private const byte ModTag = 3 << 3;
    private const byte VersionTag = 4 << 3;
    private const byte ValueTag = (5 << 3) | 2;
    private const byte LeaseTag = 6 << 3;

    private readonly int _valueFieldStart;
    private readonly int _valueFieldEnd;

    private KeyValueRecord(
        ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, int valueFieldStart, int valueFieldEnd,
        long create, long mod, long version, long lease)
    {
        Bytes = bytes;
        Key = key;
        Value = value;
        _valueFieldStart = valueFieldStart;
        _valueFieldEnd = valueFieldEnd;
        CreateRevision = create;
        ModRevision = mod;
        Version = version;
        Lease = lease;
    }

    public ReadOnlySpan<byte> Bytes { get; }

    public ReadOnlySpan<byte> Key { get; }

    public ReadOnlySpan<byte> Value { get; }

    public long CreateRevision { get; }

    public long ModRevision { get; }

    public long Version { get; }

    public long Lease { get; }

    /// <summary>The encoding before and after the value: together the pair without its value, for keys_only.</summary>
    public ReadOnlySpan<byte> BeforeValue => Bytes[.._valueFieldStart];

    public ReadOnlySpan<byte> AfterValue => Bytes[_valueFieldEnd..];

    /// <summary>The encoding of the key alone, with which each record begins.</summary>
    public ReadOnlySpan<byte> KeyField => Bytes[..(1 + VarintSize((ulong)Key.Length) + Key.Length)];

    /// <summary>The key of a record that was written here: it comes first.</summary>
    internal static ReadOnlySpan<byte> KeyOf(ReadOnlySpan<byte> bytes)
    {
        int length = bytes[1];
        if (length < 0x80)
        {
            return bytes.Slice(2, length);
        }

        int at = 1;
        ulong size = ReadVarint(bytes, ref at);
        return Take(bytes, ref at, size);
    }

    /// <exception cref="FormatException">The bytes are no record of ours.</exception>
    public static KeyValueRecord Parse(ReadOnlySpan<byte> bytes)
    {
        ReadOnlySpan<byte> key = default;
        ReadOnlySpan<byte> value = default;
        long create = 0, mod = 0, version = 0, lease = 0;
        int at = 0, valueStart = -1, valueEnd = -1;
        while (at < bytes.Length)
        {
            int fieldStart = at;
            byte tag = bytes[at++];
            ulong number = ReadVarint(bytes, ref at);
            switch (tag)
            {
                case KeyTag:
                    key = Take(bytes, ref at, number);
                    break;
                case ValueTag:
                    value = Take(bytes, ref at, number);
                    (valueStart, valueEnd) = (fieldStart, at);
                    break;
                case CreateTag:
                    create = unchecked((long)number);
                    break;
                case ModTag:
                    mod = unchecked((long)number);
                    break;
                case VersionTag:
                    version = unchecked((long)number);
                    break;
                case LeaseTag:
                    lease = unchecked((long)number);
                    break;
                default:
                    throw new FormatException($"key-value record: unknown field tag {tag}");
            }
        }

        if (valueStart < 0)
        {
            (valueStart, valueEnd) = (bytes.Length, bytes.Length);
        }

        return new KeyValueRecord(bytes, key, value, valueStart, valueEnd, create, mod, version, lease);
    }

    public static int SizeOf(int keyLength, int valueLength, long create, long mod, long version, long lease) =>
        1 + VarintSize((ulong)keyLength) + keyLength + FieldSize(create) + FieldSize(mod) + FieldSize(version)
        + (valueLength == 0 ? 0 : 1 + VarintSize((ulong)valueLength) + valueLength) + FieldSize(lease);

    public static void Write(
        Span<byte> into, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, long create, long mod, long version, long lease)
    {
        int at = 0;
        WriteBytes(into, ref at, KeyTag, key);
        WriteNumber(into, ref at, CreateTag, create);
        WriteNumber(into, ref at, ModTag, mod);
        WriteNumber(into, ref at, VersionTag, version);
        if (value.Length > 0)
        {
            WriteBytes(into, ref at, ValueTag, value);
        }

        WriteNumber(into, ref at, LeaseTag, lease);
        Check.That(at == into.Length);
    }

    public static int VarintSize(ulong value) => ((63 - System.Numerics.BitOperations.LeadingZeroCount(value | 1)) / 7) + 1;

    private static int FieldSize(long value) => value == 0 ? 0 : 1 + VarintSize(unchecked((ulong)value));

    private static void WriteNumber(Span<byte> into, ref int at, byte tag, long value)
    {
        if (value == 0)
        {
            return;
        }

        into[at++] = tag;
        WriteVarint(into, ref at, unchecked((ulong)value));
    }

    private static void WriteBytes(Span<byte> into, ref int at, byte tag, ReadOnlySpan<byte> bytes)
    {
        into[at++] = tag;
        WriteVarint(into, ref at, (ulong)bytes.Length);
        bytes.CopyTo(into[at..]);
        at += bytes.Length;
    }

    private static void WriteVarint(Span<byte> into, ref int at, ulong value)
    {
        while (value >= 0x80)
        {
            into[at++] = (byte)((value & 0x7F) | 0x80);
            value >>= 7;
        }

        into[at++] = (byte)value;
    }

    private static ulong ReadVarint(ReadOnlySpan<byte> bytes, scoped ref int at)
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            if (at >= bytes.Length)
            {
                throw new FormatException("key-value record: truncated number");
            }

            byte b = bytes[at++];
            value |= (ulong)(b & 0x7F) << shift;
            if (b < 0x80)
            {
                return value;
            }
        }

        throw new FormatException("key-value record: number too long");
    }

    private static ReadOnlySpan<byte> Take(ReadOnlySpan<byte> bytes, scoped ref int at, ulong length)
    {
        if (length > (ulong)(bytes.Length - at))
        {
            throw new FormatException("key-value record: truncated bytes");
        }

        ReadOnlySpan<byte> taken = bytes.Slice(at, (int)length);
        at += (int)length;
        return taken;
    }
}
