using System.Net;
using System.Net.Http.Headers;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>
/// Requests that are nearly gRPC. The words are those of etcd 3.6, whose library differs from that of older ones, so it is asked only here.
/// </summary>
public sealed class BrokenCallTests
{
    private const string Range = "/etcdserverpb.KV/Range";
    private static readonly byte[] KeyA = [0, 0, 0, 0, 3, 0x0a, 1, (byte)'a'];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_breaks_the_protocol_is_refused_in_words()
    {
        using StoreProcess store = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        Assert.Equal("200 0", await AskAsync(store, HttpMethod.Post, "application/grpc", KeyA));
        Assert.Equal("200 0", await AskAsync(store, HttpMethod.Post, "application/grpc+proto", KeyA, ("grpc-timeout", "99999999H")));
        Assert.Equal("200 0", await AskAsync(store, HttpMethod.Post, "application/grpc", KeyA, ("grpc-encoding", "gzip")));
        Assert.Equal("404 ", await AskAsync(store, HttpMethod.Post, "application/grpc-web", KeyA));
        Assert.Equal(
            "405 13 Received a HEADERS frame with :method \"PUT\" which should be POST", await AskAsync(store, HttpMethod.Put, "application/grpc", KeyA));
        foreach (string timeout in new[] { "junk", "123456789S", "-1S", "S" })
        {
            Assert.Equal($"400 13 malformed grpc-timeout: \"{timeout}\"", await AskAsync(store, HttpMethod.Post, "application/grpc", KeyA, ("grpc-timeout", timeout)));
        }

        Assert.Equal(
            "200 12 grpc: Decompressor is not installed for grpc-encoding \"foo\"",
            await AskAsync(store, HttpMethod.Post, "application/grpc", KeyA, ("grpc-encoding", "foo")));
        Assert.Equal("200 13 grpc: compressed flag set with identity or empty encoding", await AskAsync(store, HttpMethod.Post, "application/grpc", [1, .. KeyA[1..]]));
        Assert.Equal("200 13 grpc: received unexpected payload format 2", await AskAsync(store, HttpMethod.Post, "application/grpc", [2, .. KeyA[1..]]));
    }

    /// <summary>Status of HTTP, status of gRPC and its words.</summary>
    private static async Task<string> AskAsync(StoreProcess store, HttpMethod method, string type, byte[] body, params (string Name, string Value)[] headers)
    {
        using HttpRequestMessage request = new(method, Range) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        request.Content = new ByteArrayContent(body) { Headers = { ContentType = new MediaTypeHeaderValue(type) } };
        foreach ((string name, string value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        using HttpResponseMessage response = await store.Http.SendAsync(request, Cancellation);
        await response.Content.ReadAsByteArrayAsync(Cancellation);
        string Of(string name) => (response.TrailingHeaders.TryGetValues(name, out IEnumerable<string>? found) || response.Headers.TryGetValues(name, out found))
            ? " " + Uri.UnescapeDataString(found.Single())
            : "";
        return $"{(int)response.StatusCode}{(Of("grpc-status") is { Length: > 0 } status ? status : " ")}{Of("grpc-message")}";
    }
}
