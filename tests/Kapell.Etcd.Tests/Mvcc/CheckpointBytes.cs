using System.Buffers;
using Kapell.Mvcc;

namespace Kapell.Etcd.Tests.Mvcc;

/// <summary>A store's checkpoint in memory.</summary>
internal static class CheckpointBytes
{
    /// <param name="store">Whose.</param>
    /// <param name="piece">Bytes that are asked for at a time.</param>
    public static byte[] Of(MvccStore store, int piece = 1 << 16)
    {
        ArrayBufferWriter<byte> bytes = new();
        CheckpointSource source = store.BeginCheckpoint();
        while (source.WriteNext(bytes, piece))
        {
        }

        source.End();
        return bytes.WrittenSpan.ToArray();
    }
}
