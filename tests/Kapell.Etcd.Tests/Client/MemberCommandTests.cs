using System.Net;
using System.Net.Sockets;
using Kapell.Etcd.Client.Members;
using Xunit;

namespace Kapell.Etcd.Tests.Client;

public sealed class MemberCommandTests
{
    [Fact]
    public async Task Where_nobody_listens_is_said_with_what_the_socket_says()
    {
        string[] ports = [FreePort(), FreePort()];
        using StringWriter said = new();
        int code = await MemberCommand.RunAsync(
            ["replace", "m1", "--endpoints", $"http://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}", "--peer-urls", "http://127.0.0.1:1"],
            TimeProvider.System,
            said,
            TestContext.Current.CancellationToken);
        Assert.Equal(1, code);
        Assert.StartsWith($"failed: 127.0.0.1:{ports[0]}: Connection refused", said.ToString(), StringComparison.Ordinal);
        Assert.Contains($"; 127.0.0.1:{ports[1]}: Connection refused", said.ToString(), StringComparison.Ordinal);
    }

    private static string FreePort()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port.ToString(System.Globalization.CultureInfo.InvariantCulture);
    }
}
