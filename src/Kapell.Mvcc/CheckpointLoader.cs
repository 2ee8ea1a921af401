using System.Buffers.Binary;

namespace Kapell.Mvcc;

/// <summary>Builds a store from what <see cref="CheckpointSource"/> wrote.</summary>
public static class CheckpointLoader
{
    private const int RecordBytesMax = 0x3FFF_FFFF;

    /// <summary>Reads up to the end mark and no further.</summary>
    /// <param name="beside">The store's, and used while it is read too; null: one after the other.</param>
    /// <exception cref="InvalidDataException">The bytes are no checkpoint, or end too early.</exception>
    public static MvccStore Load(Stream input, Func<Action, Task>? beside = null)
    {
        MvccStore store = new(beside);
        try
        {
            ReadHeader(input, store);
            ReadRecords(input, store);
            store.RestoreEnd(store.Revision);
            return store;
        }
        catch (Exception e) when (e is EndOfStreamException or FormatException)
        {
            store.Dispose();
            throw new InvalidDataException($"checkpoint: {e.Message}", e);
        }
        catch
        {
            store.Dispose();
            throw;
        }
    }

    private static void ReadHeader(Stream input, MvccStore store)
    {
        Span<byte> header = stackalloc byte[32];
        input.ReadExactly(header);
        if (!header[..8].SequenceEqual(CheckpointSource.Magic))
        {
            throw new FormatException("it does not begin as a checkpoint of this version does");
        }

        store.RestoreBegin(BinaryPrimitives.ReadInt64LittleEndian(header[8..]), BinaryPrimitives.ReadInt64LittleEndian(header[16..]));
        Span<byte> lease = stackalloc byte[16];
        for (long left = BinaryPrimitives.ReadInt64LittleEndian(header[24..]); left > 0; left--)
        {
            input.ReadExactly(lease);
            long id = BinaryPrimitives.ReadInt64LittleEndian(lease);
            long ttl = BinaryPrimitives.ReadInt64LittleEndian(lease[8..]);
            if (id == 0 || ttl <= 0 || !store.Leases.Grant(id, ttl, now: 0))
            {
                throw new FormatException($"lease {id:x} of {ttl} s stands in it twice, or is none");
            }
        }
    }

    private static void ReadRecords(Stream input, MvccStore store)
    {
        Span<byte> prefix = stackalloc byte[4];
        byte[] buffer = new byte[4096];
        while (true)
        {
            input.ReadExactly(prefix);
            uint word = BinaryPrimitives.ReadUInt32LittleEndian(prefix);
            if (word == 0)
            {
                return;
            }

            input.ReadExactly(prefix);
            uint sub = BinaryPrimitives.ReadUInt32LittleEndian(prefix);
            int length = (int)(word & RecordBytesMax);
            ReadInto(ref buffer, length, input);
            store.RestoreRecord(buffer.AsSpan(0, length), sub, (word & CheckpointSource.TombstoneFlag) != 0, (word & CheckpointSource.BaseFlag) == 0);
        }
    }

    // Memory is taken as the bytes come, not as a length of who knows where says.
    private static void ReadInto(ref byte[] buffer, int length, Stream input)
    {
        for (int have = 0; have < length;)
        {
            if (have == buffer.Length)
            {
                Array.Resize(ref buffer, (int)Math.Min(length, 2L * buffer.Length));
            }

            int next = Math.Min(length, buffer.Length);
            input.ReadExactly(buffer.AsSpan(have, next - have));
            have = next;
        }
    }
}
