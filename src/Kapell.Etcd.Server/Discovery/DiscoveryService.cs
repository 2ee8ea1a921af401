using System.Globalization;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Proxies;
using Kapell.Etcd.Server.Replication;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Discovery;

/// <summary>Another cluster in which the founders of this one find each other (--discovery-endpoints, --discovery-token).</summary>
internal sealed record DiscoverySettings
{
    public required IReadOnlyList<string> Endpoints { get; init; }

    public required string Token { get; init; }

    public required UpstreamTls Tls { get; init; }

    /// <summary>Without TLS, where an endpoint does not say which.</summary>
    public required bool Plain { get; init; }

    public required string User { get; init; }

    public required string Password { get; init; }

    public required TimeSpan RequestTimeout { get; init; }
}

/// <summary>
/// Each founder writes itself under the token, and waits until as many have as the key of the size says; who comes later is too late.
/// Keys: <c>/_etcd/registry/TOKEN/_config/size</c> and <c>/_etcd/registry/TOKEN/members/ID</c>. etcd: api/v3discovery/discovery.go
/// </summary>
internal sealed class DiscoveryService(DiscoverySettings settings, TimeProvider time, ILogger logger)
{
    private const int BackOffDoublingsMax = 8;
    private static readonly TimeSpan PollPause = TimeSpan.FromMilliseconds(500);
    private string _token = "";
    private int _failures;

    private string MembersPrefix => $"/_etcd/registry/{settings.Token}/members/";

    /// <summary>The founders, in the order in which they came; this one is among them.</summary>
    /// <exception cref="InvalidDataException">The token has no size, or the cluster is full.</exception>
    public async Task<IReadOnlyList<InitialMember>> JoinAsync(string name, IReadOnlyList<string> peerUrls, CancellationToken cancellation)
    {
        using SocketsHttpHandler handler = Upstreams.HandlerOf(settings.Tls, refuseNames: false);
        using GrpcChannelSet channels = new(settings, handler);
        ulong self = ClusterIdentity.MemberId(peerUrls, settings.Token);
        string own = MembersPrefix + self.ToString("x", CultureInfo.InvariantCulture);
        int size = await RetryAsync(channels, ReadSizeAsync, cancellation);
        IReadOnlyList<KeyValue> there = await RetryAsync(channels, ReadMembersAsync, cancellation);
        if (there.Count >= size && !there.Take(size).Any(m => m.Key.ToStringUtf8() == own))
        {
            throw new InvalidDataException("discovery: cluster is full");
        }

        string text = string.Join(',', peerUrls.Select(url => $"{name}={url}"));
        await RetryAsync(channels, (client, options) => client.PutAsync(
            new PutRequest { Key = ByteString.CopyFromUtf8(own), Value = ByteString.CopyFromUtf8(text) }, options).ResponseAsync, cancellation);
        while (true)
        {
            there = await RetryAsync(channels, ReadMembersAsync, cancellation);
            Log.DiscoveryWaits(logger, there.Count, size);
            if (there.Count >= size)
            {
                break;
            }

            await Task.Delay(PollPause, time, cancellation);
        }

        KeyValue[] founders = [.. there.Take(size)];
        return founders.Any(m => m.Key.ToStringUtf8() == own)
            ? [.. founders.SelectMany(static m => Members(m.Value.ToStringUtf8()))]
            : throw new InvalidDataException("discovery: cluster is full");
    }

    private static IEnumerable<InitialMember> Members(string text) =>
        text.Split(',', StringSplitOptions.TrimEntries).Select(static part => part.Split('=', 2)).Select(static pair => new InitialMember(pair[0], pair[1]));

    private async Task<int> ReadSizeAsync(KV.KVClient client, CallOptions options)
    {
        RangeResponse found = await client.RangeAsync(
            new RangeRequest { Key = ByteString.CopyFromUtf8($"/_etcd/registry/{settings.Token}/_config/size") }, options);
        return found.Kvs.Count == 0 ? throw new InvalidDataException("discovery: size key not found")
            : int.TryParse(found.Kvs[0].Value.ToStringUtf8(), NumberStyles.None, CultureInfo.InvariantCulture, out int size) && size > 0 ? size
            : throw new InvalidDataException("discovery: size key is bad");
    }

    /// <summary>Those that make sense, the first first.</summary>
    private async Task<IReadOnlyList<KeyValue>> ReadMembersAsync(KV.KVClient client, CallOptions options)
    {
        RangeResponse found = await client.RangeAsync(
            new RangeRequest { Key = ByteString.CopyFromUtf8(MembersPrefix), RangeEnd = ByteString.CopyFromUtf8(MembersPrefix[..^1] + "0") }, options);
        return [.. found.Kvs.Where(static m => m.Value.ToStringUtf8().Split(',').All(static p => p.IndexOf('=', StringComparison.Ordinal) > 0))
            .OrderBy(static m => m.CreateRevision)];
    }

    // The service may come up later than its clients.
    private async Task<T> RetryAsync<T>(GrpcChannelSet channels, Func<KV.KVClient, CallOptions, Task<T>> call, CancellationToken cancellation)
    {
        while (true)
        {
            GrpcChannel channel = channels.Next();
            try
            {
                DateTime deadline = (time.GetUtcNow() + settings.RequestTimeout).UtcDateTime;
                if (settings.User.Length > 0 && _token.Length == 0)
                {
                    AuthenticateRequest credentials = new() { Name = settings.User, Password = settings.Password };
                    _token = (await new Auth.AuthClient(channel).AuthenticateAsync(credentials, null, deadline, cancellation)).Token;
                }

                Metadata headers = _token.Length > 0 ? new Metadata { { "token", _token } } : [];
                T result = await call(new KV.KVClient(channel), new CallOptions(headers, deadline, cancellation));
                _failures = 0;
                return result;
            }
            catch (RpcException e) when (!cancellation.IsCancellationRequested)
            {
                (_token, _failures) = ("", _failures + 1);
                TimeSpan pause = TimeSpan.FromSeconds(1 << Math.Min(_failures, BackOffDoublingsMax));
                Log.DiscoveryFailed(logger, e.Status.Detail, pause);
                await Task.Delay(pause, time, cancellation);
            }
        }
    }

    /// <summary>One channel an endpoint, one after the other.</summary>
    private sealed class GrpcChannelSet : IDisposable
    {
        private readonly GrpcChannel[] _all;
        private int _turn;

        public GrpcChannelSet(DiscoverySettings settings, SocketsHttpHandler handler) => _all =
            [.. settings.Endpoints.Select(endpoint => Open(endpoint.Contains("://", StringComparison.Ordinal) ? endpoint : (settings.Plain ? "http://" : "https://") + endpoint, handler))];

        public GrpcChannel Next() => _all[_turn++ % _all.Length];

        public void Dispose()
        {
            foreach (GrpcChannel channel in _all)
            {
                channel.Dispose();
            }
        }

        private static GrpcChannel Open(string address, SocketsHttpHandler handler) => Uri.TryCreate(address, UriKind.Absolute, out Uri? uri)
            ? GrpcChannel.ForAddress(uri, new GrpcChannelOptions { HttpHandler = handler })
            : throw new FlagException($"--discovery-endpoints: \"{address}\" is no endpoint");
    }
}
