using System.Buffers;
using Kapell.Etcd.Server.Http;
using Xunit;

namespace Kapell.Etcd.Tests.Http;

public sealed class SocketBlocksTests
{
    [Fact]
    public void A_block_is_given_again_only_after_it_was_given_back()
    {
        using MemoryPool<byte> blocks = new SocketBlocks().Create();
        IMemoryOwner<byte> first = blocks.Rent(4096);
        using IMemoryOwner<byte> second = blocks.Rent();
        Assert.NotSame(first, second);
        Assert.Equal(blocks.MaxBufferSize, first.Memory.Length);
        first.Dispose();
        Assert.Same(first, blocks.Rent(1));
    }

    [Fact]
    public void No_block_is_larger_than_all_others()
    {
        using MemoryPool<byte> blocks = new SocketBlocks().Create();
        Assert.Throws<ArgumentOutOfRangeException>(() => blocks.Rent(blocks.MaxBufferSize + 1));
    }
}
