using System.Buffers;
using System.Runtime.InteropServices;
using Kapell.Base;

namespace Kapell.Etcd.Server.Http2;

/// <summary>
/// Bytes outside the collector's heap, for a message of megabytes: as an array it would wait for a collection of everything, and others with
/// it. To be disposed of once, by whoever has it last: there is no finalizer, as a span of it could outlive it.
/// </summary>
internal sealed unsafe class NativeBlock : MemoryManager<byte>
{
    private readonly int _length;
    private void* _bytes;

    /// <param name="length">In bytes, above zero; what is in them is anything.</param>
    /// <exception cref="OutOfMemoryException">There are not so many.</exception>
    public NativeBlock(int length)
    {
        _length = length;
        _bytes = NativeMemory.Alloc((nuint)length);
    }

    public override Span<byte> GetSpan()
    {
        Check.That(_bytes is not null);
        return new Span<byte>(_bytes, _length);
    }

    public override MemoryHandle Pin(int elementIndex = 0) => new((byte*)_bytes + elementIndex, pinnable: this);

    public override void Unpin()
    {
        // It never moves.
    }

    protected override void Dispose(bool disposing)
    {
        NativeMemory.Free(_bytes);
        _bytes = null;
    }
}
