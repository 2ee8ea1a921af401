using System.Buffers;
using System.Runtime.InteropServices;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// The memory that sockets read into and are written from, in larger pieces than Kestrel's four kilobytes: what has come is read by one
/// call, and so all of it becomes one batch: one turn, one write of the log, one flush of the answers.
/// </summary>
internal sealed class SocketBlocks : MemoryPool<byte>, IMemoryPoolFactory<byte>
{
    private const int BlockBytes = 32 * 1024;

    // What is given back beyond these is left to the collector: a rush of clients must not hold its memory for ever.
    private const int FreeMax = 128;

    private readonly Lock _lock = new(); // Guards the stack: the block used last is the one in the processor's cache.
    private readonly Stack<Block> _free = new();

    public override int MaxBufferSize => BlockBytes;

    /// <summary>After Kestrel's services: it adds a factory of its own, and the last one counts.</summary>
    public static void Use(IServiceCollection services) => services.Replace(ServiceDescriptor.Singleton<IMemoryPoolFactory<byte>, SocketBlocks>());

    public MemoryPool<byte> Create(MemoryPoolOptions? options = null) => new SocketBlocks();

    public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(minBufferSize, BlockBytes);
        lock (_lock)
        {
            if (_free.TryPop(out Block? block))
            {
                return block;
            }
        }

        return new Block(this);
    }

    protected override void Dispose(bool disposing)
    {
        lock (_lock)
        {
            _free.Clear();
        }
    }

    private void Return(Block block)
    {
        lock (_lock)
        {
            if (_free.Count < FreeMax)
            {
                _free.Push(block);
            }
        }
    }

    private sealed class Block(SocketBlocks pool) : IMemoryOwner<byte>
    {
        public Memory<byte> Memory { get; } =
            MemoryMarshal.CreateFromPinnedArray(GC.AllocateUninitializedArray<byte>(BlockBytes, pinned: true), 0, BlockBytes);

        public void Dispose() => pool.Return(this);
    }
}
