using System.Buffers;
using System.Net;
using System.Net.Sockets;
using Kapell.Etcd.Server.Http;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting;
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

    /// <summary>Kestrel has blocks of its own and takes the last word: ours were once made and never used.</summary>
    [Fact]
    public async Task Sockets_read_into_them()
    {
        TaskCompletionSource<object?> pool = new(TaskCreationOptions.RunContinuationsAsynchronously);
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore();
        builder.WebHost.UseSockets();
        SocketBlocks.Use(builder.Services);
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, port => port.Use(_ => connection =>
        {
            pool.SetResult(connection.Features.Get<IMemoryPoolFeature>()?.MemoryPool);
            return Task.CompletedTask;
        })));
        await using WebApplication app = builder.Build();
        await app.StartAsync(TestContext.Current.CancellationToken);
        using TcpClient client = new();
        await client.ConnectAsync(IPEndPoint.Parse(new Uri(app.Urls.Single()).Authority), TestContext.Current.CancellationToken);
        Assert.IsType<SocketBlocks>(await pool.Task.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken));
    }
}
