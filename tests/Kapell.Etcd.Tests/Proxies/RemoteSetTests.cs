using Kapell.Base;
using Kapell.Etcd.Server.Proxies;
using Xunit;

namespace Kapell.Etcd.Tests.Proxies;

public sealed class RemoteSetTests
{
    [Fact]
    public void Without_weights_each_has_its_turn()
    {
        RemoteSet set = new([new Remote("a", 1), new Remote("b", 1), new Remote("c", 1)], new Prng(1));
        Assert.Equal(["a", "b", "c", "a"], Enumerable.Range(0, 4).Select(_ => set.Pick()!.Host));
    }

    [Fact]
    public void The_next_priority_serves_only_when_the_first_is_gone()
    {
        Remote first = new("a", 1, priority: 1);
        RemoteSet set = new([new Remote("b", 1, priority: 2), first], new Prng(1));
        Assert.Equal("a", set.Pick()!.Host);
        first.Active = false;
        Assert.Equal("b", set.Pick()!.Host);
    }

    [Fact]
    public void Weights_share_out()
    {
        RemoteSet set = new([new Remote("a", 1, 1, 30), new Remote("b", 1, 1, 10)], new Prng(7));
        int ofA = Enumerable.Range(0, 4000).Count(_ => set.Pick()!.Host == "a");
        Assert.InRange(ofA, 2850, 3150);
    }

    [Fact]
    public void None_is_picked_when_none_is_active()
    {
        Remote only = new("a", 1) { Active = false };
        Assert.Null(new RemoteSet([only], new Prng(1)).Pick());
    }

    [Theory]
    [InlineData("127.0.0.1:2379", "127.0.0.1", 2379)]
    [InlineData("https://[::1]:2379", "::1", 2379)]
    public void An_endpoint_is_an_address_or_a_URL(string text, string host, int port)
    {
        Remote remote = GatewayCommand.ParseRemote(text);
        Assert.Equal((host, port), (remote.Host, remote.Port));
    }

    [Theory]
    [InlineData("nothing")]
    [InlineData("a:99999")]
    [InlineData("a:0")]
    public void Anything_else_is_refused(string text) => Assert.Throws<FlagException>(() => GatewayCommand.ParseRemote(text));
}
