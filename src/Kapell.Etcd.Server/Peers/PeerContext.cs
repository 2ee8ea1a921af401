using Kapell.Raft;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Peers;

/// <summary>What all ways to other members share.</summary>
internal sealed class PeerContext(
    ulong clusterId, ulong self, IReadOnlyList<string> ownUrls, HttpClient client, IPeerEvents events, TimeProvider time, ILogger logger)
{
    public ulong ClusterId => clusterId;

    public ulong Self => self;

    public HttpClient Client => client;

    public IPeerEvents Events => events;

    public TimeProvider Time => time;

    public ILogger Logger => logger;

    public HttpRequestMessage Request(HttpMethod method, string url, string path, MemberId to)
    {
        HttpRequestMessage request = PeerAddress.Request(method, url, path);
        request.Version = System.Net.HttpVersion.Version11;
        request.Headers.Add(PeerProtocol.ClusterHeader, PeerProtocol.Hex(clusterId));
        request.Headers.Add(PeerProtocol.FromHeader, PeerProtocol.Hex(self));
        request.Headers.Add(PeerProtocol.ToHeader, PeerProtocol.Hex(to.Value));
        request.Headers.Add(PeerProtocol.UrlsHeader, string.Join(',', ownUrls));
        return request;
    }

    /// <summary>The text of a refusal, short.</summary>
    public async Task<string> ReasonAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        string text = await response.Content.ReadAsStringAsync(cancellation);
        return text.Length > 200 ? text[..200] : text.Trim();
    }
}
