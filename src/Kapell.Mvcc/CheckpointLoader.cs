using System.Buffers.Binary;

namespace Kapell.Mvcc;

/// <summary>Builds a store from what <see cref="CheckpointSource"/> wrote.</summary>
public static class CheckpointLoader
{
    private const int RecordBytesMax = 0x3FFF_FFFF;

    /// <summary>Reads up to the end mark and no further.</summary>
    /// <exception cref="InvalidDataException">The bytes are no checkpoint, or end too early.</exception>
    public static MvccStore Load(Stream input)
    {
        MvccStore store = new();
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
            if (!store.Leases.Grant(id, BinaryPrimitives.ReadInt64LittleEndian(lease[8..]), now: 0))
            {
                throw new FormatException($"lease {id:x} stands in it twice");
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
            if (length > buffer.Length)
            {
                buffer = new byte[Math.Max(length, buffer.Length * 2)];
            }

            Span<byte> bytes = buffer.AsSpan(0, length);
            input.ReadExactly(bytes);
            store.RestoreRecord(bytes, sub, (word & CheckpointSource.TombstoneFlag) != 0, (word & CheckpointSource.BaseFlag) == 0);
        }
    }
}
