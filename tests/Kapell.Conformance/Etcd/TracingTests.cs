using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Etcd.Protocol;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Spans go to a collector, which is a server of gRPC that keeps what it is sent.</summary>
public sealed class TracingTests
{
    private const string TraceId = "0af7651916cd43dd8448eb211c80319c";
    private const string ClientSpan = "b7ad6b7169203331";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_call_leaves_a_span_in_the_trace_of_its_client()
    {
        ConcurrentQueue<byte[]> sent = [];
        int port = FreePorts.Next();
        await using WebApplication collector = await CollectAsync(port, sent);
        using StoreProcess store = await StoreProcess.StartAsync(
            StoreKind.Kapell, Cancellation, null, "--enable-distributed-tracing", $"--distributed-tracing-address=127.0.0.1:{port}",
            "--distributed-tracing-service-name=the-store", "--experimental-distributed-tracing-instance-id=member-a");
        using GrpcChannel channel = GrpcChannel.ForAddress(store.Url);
        KV.KVClient kv = new(channel);
        PutRequest put = new() { Key = ByteString.CopyFromUtf8("a"), Value = ByteString.CopyFromUtf8("secret") };
        await kv.PutAsync(put, new Metadata { { "traceparent", $"00-{TraceId}-{ClientSpan}-01" } }, cancellationToken: Cancellation);

        // Nobody has begun a trace of this one, and the rate is 0.
        await kv.DeleteRangeAsync(new DeleteRangeRequest { Key = put.Key }, cancellationToken: Cancellation);
        RangeRequest late = new() { Key = put.Key, Revision = 99 };
        await StoreClient.RefusalAsync(kv.RangeAsync(late, new Metadata { { "traceparent", $"00-{TraceId}-{ClientSpan}-01" } }, cancellationToken: Cancellation));
        store.Terminate();
        Assert.Equal(0, await store.ExitAsync(Cancellation));

        byte[] all = [.. sent.SelectMany(static b => b)];
        string text = Encoding.Latin1.GetString(all);
        Assert.Contains("etcdserverpb.KV/Put", text, StringComparison.Ordinal);
        Assert.Contains("etcdserverpb.KV/Range", text, StringComparison.Ordinal);
        Assert.Contains("rpc.grpc.status_code", text, StringComparison.Ordinal);
        Assert.Contains("the-store", text, StringComparison.Ordinal);
        Assert.Contains("member-a", text, StringComparison.Ordinal);
        Assert.Contains(Encoding.Latin1.GetString(Convert.FromHexString(TraceId)), text, StringComparison.Ordinal);
        Assert.Contains(Encoding.Latin1.GetString(Convert.FromHexString(ClientSpan)), text, StringComparison.Ordinal);
        Assert.DoesNotContain("DeleteRange", text, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nobody_waits_for_a_collector_that_is_not_there()
    {
        int nobody = FreePorts.Next();
        using StoreProcess store = await StoreProcess.StartAsync(
            StoreKind.Kapell, Cancellation, null, "--enable-distributed-tracing", "--distributed-tracing-sampling-rate=1000000",
            string.Create(CultureInfo.InvariantCulture, $"--distributed-tracing-address=127.0.0.1:{nobody}"));
        using GrpcChannel channel = GrpcChannel.ForAddress(store.Url);
        for (int i = 0; i < 100; i++)
        {
            await new KV.KVClient(channel).PutAsync(
                new PutRequest { Key = ByteString.CopyFromUtf8("a") }, deadline: DateTime.UtcNow.AddSeconds(5), cancellationToken: Cancellation);
        }
    }

    private static async Task<WebApplication> CollectAsync(int port, ConcurrentQueue<byte[]> sent)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(k => k.Listen(IPAddress.Loopback, port, static l => l.Protocols = HttpProtocols.Http2));
        WebApplication app = builder.Build();
        app.Run(async context =>
        {
            Assert.Equal("/opentelemetry.proto.collector.trace.v1.TraceService/Export", context.Request.Path.Value);
            using MemoryStream body = new();
            await context.Request.Body.CopyToAsync(body);
            sent.Enqueue(body.ToArray());
            context.Response.ContentType = "application/grpc";
            await context.Response.Body.WriteAsync(new byte[5]);
            context.Response.AppendTrailer("grpc-status", "0");
        });
        await app.StartAsync(Cancellation);
        return app;
    }
}
