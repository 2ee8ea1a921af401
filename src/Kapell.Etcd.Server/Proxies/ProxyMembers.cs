using System.Text.Json;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>
/// What a proxy says about the cluster's members: itself, or all proxies that have registered under the same prefix, so that clients that
/// ask for the members stay behind the proxies. etcd: server/proxy/grpcproxy/cluster.go, register.go, client/v3/naming/endpoints
/// </summary>
internal sealed class ProxyMembers(GrpcProxyOptions options, Upstreams upstreams, string hostName, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan RetryPause = TimeSpan.FromSeconds(1);

    public MessageView View => options.AdvertiseUrl.Length == 0 ? MessageView.None : new MessageView { Answer = AnswerAsync };

    /// <summary>Keeps this proxy registered, while the process lives.</summary>
    public async Task RegisterAsync(CancellationToken stopping)
    {
        while (options.ResolverPrefix.Length > 0 && !stopping.IsCancellationRequested)
        {
            Upstream upstream = upstreams.InOrder()[0];
            try
            {
                await KeepRegisteredAsync(upstream, stopping);
            }
            catch (Exception e) when (e is RpcException or OperationCanceledException or ObjectDisposedException)
            {
                if (stopping.IsCancellationRequested)
                {
                    return;
                }

                upstreams.Suspect(upstream, e.Message);
                Log.RegistrationFailed(logger, options.AdvertiseUrl, e.Message);
            }

            await Task.Delay(RetryPause, time, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task KeepRegisteredAsync(Upstream upstream, CancellationToken stopping)
    {
        Lease.LeaseClient leases = new(upstream.Channel);
        LeaseGrantResponse lease = await leases.LeaseGrantAsync(new LeaseGrantRequest { TTL = options.ResolverTtl }, cancellationToken: stopping);
        await new KV.KVClient(upstream.Channel).PutAsync(
            new PutRequest { Key = ByteString.CopyFromUtf8($"{options.ResolverPrefix}/{options.AdvertiseUrl}"), Value = OwnEntry(), Lease = lease.ID },
            cancellationToken: stopping);
        Log.Registered(logger, options.AdvertiseUrl, options.ResolverTtl);
        using AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> renewal = leases.LeaseKeepAlive(cancellationToken: stopping);
        do
        {
            await Task.Delay(TimeSpan.FromSeconds(Math.Max(0.5, options.ResolverTtl / 3.0)), time, stopping);
            await renewal.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = lease.ID }, stopping);
        }
        while (await renewal.ResponseStream.MoveNext(stopping) && renewal.ResponseStream.Current.TTL > 0);
    }

    // etcd: naming/endpoints: the JSON that its resolver reads; the metadata is JSON in a string.
    private ByteString OwnEntry()
    {
        JsonEncodedText metadata = JsonEncodedText.Encode($"{{\"name\":\"{JsonEncodedText.Encode(hostName)}\"}}");
        return ByteString.CopyFromUtf8(
            $"{{\"Op\":0,\"Addr\":\"{JsonEncodedText.Encode(options.AdvertiseUrl)}\",\"Metadata\":\"{metadata}\"}}");
    }

    private async Task<byte[]?> AnswerAsync(byte[] request, ServerCallContext context)
    {
        MemberListResponse response = new() { Header = new ResponseHeader() };
        response.Members.AddRange(options.ResolverPrefix.Length > 0 ? await RegisteredAsync(context.CancellationToken) : []);
        if (response.Members.Count == 0)
        {
            Member self = new() { Name = hostName };
            self.ClientURLs.Add(options.AdvertiseUrl);
            response.Members.Add(self);
        }

        return response.ToByteArray();
    }

    private async Task<IReadOnlyList<Member>> RegisteredAsync(CancellationToken cancellation)
    {
        Upstream upstream = upstreams.InOrder()[0];
        ByteString prefix = ByteString.CopyFromUtf8(options.ResolverPrefix + "/");
        RangeResponse found = await new KV.KVClient(upstream.Channel).RangeAsync(
            new RangeRequest { Key = prefix, RangeEnd = ByteString.CopyFromUtf8(options.ResolverPrefix + "0") }, cancellationToken: cancellation);
        List<Member> members = [];
        foreach (KeyValue pair in found.Kvs)
        {
            if (ReadEntry(pair.Value.Span) is { } member)
            {
                members.Add(member);
            }
        }

        return members;
    }

    /// <summary>Null for what somebody else wrote there.</summary>
    private static Member? ReadEntry(ReadOnlySpan<byte> json)
    {
        try
        {
            using JsonDocument entry = JsonDocument.Parse(json.ToArray());
            string address = entry.RootElement.GetProperty("Addr").GetString() ?? "";
            using JsonDocument metadata = JsonDocument.Parse(entry.RootElement.GetProperty("Metadata").GetString() ?? "{}");
            Member member = new() { Name = metadata.RootElement.TryGetProperty("name", out JsonElement name) ? name.GetString() ?? "" : "" };
            member.ClientURLs.Add(address);
            return address.Length > 0 ? member : null;
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return null;
        }
    }
}
