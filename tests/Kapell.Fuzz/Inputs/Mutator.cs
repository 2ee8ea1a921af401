using System.Buffers.Binary;
using Kapell.Base;

namespace Kapell.Fuzz.Inputs;

/// <summary>Makes an input that is nearly right out of one that is: bytes, numbers, pieces, and fields of protobuf messages.</summary>
internal sealed class Mutator(Prng prng)
{
    private const int BytesMax = 256 * 1024;

    private static readonly ulong[] Telling =
    [
        0, 1, 2, 7, 8, 127, 128, 255, 256, 16383, 16384, 32767, 32768, 65535, 65536, int.MaxValue, 1UL << 31, uint.MaxValue, 1UL << 32,
        long.MaxValue, 1UL << 63, ulong.MaxValue, ulong.MaxValue - 1,
    ];

    public Prng Prng => prng;

    /// <summary>A few small changes, each of a random kind.</summary>
    public byte[] Mutate(byte[] input, IReadOnlyList<byte[]> others)
    {
        byte[] bytes = input;
        for (int i = 1 + (int)prng.NextBelow(prng.Chance(0.2) ? 12UL : 3UL); i > 0; i--)
        {
            bytes = prng.NextInt(0, 12) switch
            {
                0 => Set(bytes, (byte)prng.NextUInt64()),
                1 => Set(bytes, (byte)Telling[prng.NextInt(0, 9)]),
                2 => FlipBit(bytes),
                3 => Number(bytes),
                4 => Cut(bytes),
                5 => Double(bytes),
                6 => Insert(bytes, Random(prng.NextInt(1, 9))),
                7 => bytes[..prng.NextInt(0, bytes.Length + 1)],
                8 => Splice(bytes, others[prng.NextInt(0, others.Count)]),
                9 => Insert(bytes, Varint(Telling[prng.NextInt(0, Telling.Length)])),
                10 => Nest(bytes),
                _ => Fields(bytes, 0),
            };
        }

        return bytes.Length <= BytesMax ? bytes : bytes[..BytesMax];
    }

    public byte[] Random(int length)
    {
        byte[] bytes = new byte[length];
        for (int i = 0; i < length; i++)
        {
            bytes[i] = (byte)prng.NextUInt64();
        }

        return bytes;
    }

    public static byte[] Varint(ulong value)
    {
        List<byte> bytes = [];
        for (; value >= 0x80; value >>= 7)
        {
            bytes.Add((byte)(value | 0x80));
        }

        bytes.Add((byte)value);
        return [.. bytes];
    }

    /// <summary>Takes the bytes for a message and changes one of its fields, at some depth; lengths around it stay right.</summary>
    private byte[] Fields(byte[] message, int depth)
    {
        List<(int Start, int Value, int End, bool IsBytes)> fields = Split(message);
        if (fields.Count == 0)
        {
            return Set(message, (byte)prng.NextUInt64());
        }

        (int start, int value, int end, bool isBytes) = fields[prng.NextInt(0, fields.Count)];
        byte[] tag = TagOf(message[start..value], isBytes);
        byte[] field = prng.NextInt(0, 6) switch
        {
            0 => [],
            1 => [.. message[start..end], .. message[start..end]],
            2 when isBytes => [.. tag, .. Lengthened([])],
            3 when isBytes => [.. tag, .. Lengthened(Random(prng.NextInt(0, prng.Chance(0.1) ? 5000 : 40)))],
            4 when isBytes && depth < 8 => [.. tag, .. Lengthened(Fields(message[value..end], depth + 1))],
            _ when !isBytes => [.. tag, .. Varint(Telling[prng.NextInt(0, Telling.Length)])],
            _ => [.. tag, .. Lengthened(Set(message[value..end], (byte)prng.NextUInt64()))],
        };
        return [.. message[..start], .. field, .. message[end..]];
    }

    // The tag without the length that follows it.
    private static byte[] TagOf(byte[] head, bool isBytes)
    {
        int at = 0;
        while (at < head.Length && head[at++] >= 0x80)
        {
        }

        return isBytes ? head[..at] : head;
    }

    private static byte[] Lengthened(byte[] bytes) => [.. Varint((ulong)bytes.Length), .. bytes];

    /// <summary>The fields of a message, as far as it is one.</summary>
    private static List<(int Start, int Value, int End, bool IsBytes)> Split(byte[] message)
    {
        List<(int, int, int, bool)> fields = [];
        int at = 0;
        while (at < message.Length)
        {
            int start = at;
            if (!TryVarint(message, ref at, out ulong tag))
            {
                return fields;
            }

            ulong length = 0;
            bool good = (tag & 7) switch
            {
                0 => true,
                1 => true,
                2 => TryVarint(message, ref at, out length),
                5 => true,
                _ => false,
            };
            int value = at;
            good = good && (tag & 7) switch
            {
                0 => TryVarint(message, ref at, out _),
                1 => (at += 8) <= message.Length,
                2 => length <= (ulong)(message.Length - at) && (at += (int)length) >= 0,
                _ => (at += 4) <= message.Length,
            };
            if (!good)
            {
                return fields;
            }

            fields.Add((start, value, at, (tag & 7) == 2));
        }

        return fields;
    }

    private static bool TryVarint(byte[] bytes, ref int at, out ulong value)
    {
        value = 0;
        for (int shift = 0; shift < 64 && at < bytes.Length; shift += 7)
        {
            byte b = bytes[at++];
            value |= (ulong)(b & 0x7f) << shift;
            if (b < 0x80)
            {
                return true;
            }
        }

        return false;
    }

    private byte[] Set(byte[] bytes, byte value)
    {
        if (bytes.Length == 0)
        {
            return [value];
        }

        byte[] copy = [.. bytes];
        copy[prng.NextInt(0, copy.Length)] = value;
        return copy;
    }

    private byte[] FlipBit(byte[] bytes)
    {
        byte[] copy = bytes.Length == 0 ? [0] : [.. bytes];
        copy[prng.NextInt(0, copy.Length)] ^= (byte)(1 << prng.NextInt(0, 8));
        return copy;
    }

    private byte[] Number(byte[] bytes)
    {
        int size = 1 << prng.NextInt(1, 4);
        if (bytes.Length < size)
        {
            return Insert(bytes, Random(size));
        }

        byte[] copy = [.. bytes];
        byte[] number = new byte[8];
        ulong value = Telling[prng.NextInt(0, Telling.Length)];
        bool little = prng.Chance(0.5);
        if (little)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(number, value);
        }
        else
        {
            BinaryPrimitives.WriteUInt64BigEndian(number, value);
        }

        number.AsSpan(little ? 0 : 8 - size, size).CopyTo(copy.AsSpan(prng.NextInt(0, copy.Length - size + 1)));
        return copy;
    }

    private (int Start, int End) Piece(byte[] bytes)
    {
        int start = prng.NextInt(0, bytes.Length + 1);
        return (start, Math.Min(bytes.Length, start + prng.NextInt(0, prng.Chance(0.3) ? bytes.Length + 1 : 17)));
    }

    private byte[] Cut(byte[] bytes) => Piece(bytes) is var (start, end) ? [.. bytes[..start], .. bytes[end..]] : bytes;

    private byte[] Double(byte[] bytes)
    {
        (int start, int end) = Piece(bytes);
        byte[] all = [.. bytes[..end]];
        for (int i = prng.Chance(0.05) ? 50 : 1; i > 0 && all.Length < BytesMax; i--)
        {
            all = [.. all, .. bytes[start..end]];
        }

        return [.. all, .. bytes[end..]];
    }

    private byte[] Insert(byte[] bytes, byte[] more)
    {
        int at = prng.NextInt(0, bytes.Length + 1);
        return [.. bytes[..at], .. more, .. bytes[at..]];
    }

    private byte[] Splice(byte[] bytes, byte[] other)
    {
        (int start, int end) = Piece(other);
        (int from, int to) = Piece(bytes);
        return [.. bytes[..from], .. other[start..end], .. bytes[to..]];
    }

    /// <summary>The whole inside itself, many levels deep: as field 3 or 4 of a message, or as lists of JSON.</summary>
    private byte[] Nest(byte[] bytes)
    {
        if (!prng.Chance(0.1))
        {
            return bytes;
        }

        byte[] nested = bytes.Length > 64 ? bytes[..64] : bytes;
        bool json = prng.Chance(0.3);
        for (int i = prng.NextInt(1, 300); i > 0; i--)
        {
            nested = json ? [(byte)'[', .. nested] : [(byte)(prng.Chance(0.5) ? 0x1a : 0x22), .. Lengthened(nested)];
        }

        return nested;
    }
}
