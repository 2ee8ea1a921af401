using System.Buffers;

namespace Kapell.Etcd.Server.Http2;

/// <summary>What holds the bytes of a message until they have been sent: a rented array, a block, or nothing that need be given back.</summary>
internal readonly record struct Lent(byte[]? Rented, NativeBlock? Block = null)
{
    public Memory<byte> Memory => Block?.Memory ?? Rented;

    /// <summary>Once; nobody may look at the bytes after it.</summary>
    public void GiveBack()
    {
        if (Rented is not null)
        {
            ArrayPool<byte>.Shared.Return(Rented);
        }

        ((IDisposable?)Block)?.Dispose();
    }
}
