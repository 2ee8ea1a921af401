using System.Diagnostics;
using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>A member that is asked to stop answers what it has been asked, and tells its clients.</summary>
public sealed class StoppingTests
{
    private const int Writers = 32;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task No_write_is_made_that_its_client_does_not_hear_of()
    {
        string directory = StoreProcess.NewDirectory();
        long[] answered = new long[Writers];
        try
        {
            using (StoreClient client = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, directory)))
            {
                Task<StatusCode>[] writers = [.. Enumerable.Range(0, Writers).Select(w => WriteUntilRefusedAsync(client, w, answered))];
                while (answered.Sum() < 200 && !writers.Any(static w => w.IsCompleted))
                {
                    await Task.Delay(1, Cancellation);
                }

                client.Process.Terminate();
                Assert.All(await Task.WhenAll(writers), static code => Assert.Equal(StatusCode.Unavailable, code));
                Assert.Equal(0, await client.Process.ExitAsync(Cancellation));
            }

            using StoreClient reader = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, directory));
            for (int writer = 0; writer < Writers; writer++)
            {
                RangeResponse found = await reader.Kv.RangeAsync(new RangeRequest { Key = KeyOf(writer) }, cancellationToken: Cancellation);
                Assert.Equal(answered[writer], found.Kvs.Count == 0 ? 0 : found.Kvs[0].Version);
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Fact]
    public async Task Streams_without_end_do_not_keep_it_from_stopping()
    {
        StoreProcess store = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        using StoreClient client = new(store);
        using AsyncDuplexStreamingCall<WatchRequest, WatchResponse> watch = client.Watch.Watch(cancellationToken: Cancellation);
        await watch.RequestStream.WriteAsync(new WatchRequest { CreateRequest = new WatchCreateRequest { Key = ByteString.CopyFromUtf8("a") } }, Cancellation);
        Assert.True(await watch.ResponseStream.MoveNext(Cancellation));
        using AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> alive = client.Leases.LeaseKeepAlive(cancellationToken: Cancellation);
        await alive.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = 1 }, Cancellation);
        Assert.True(await alive.ResponseStream.MoveNext(Cancellation));
        using StringContent body = new("{\"create_request\":{\"key\":\"YQ==\"}}", Encoding.UTF8, "application/json");
        using HttpRequestMessage request = new(HttpMethod.Post, "/v3/watch") { Content = body };
        using HttpResponseMessage json = await store.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancellation);
        Task<string> watched = StoreClient.RefusalAsync(() => watch.ResponseStream.MoveNext(Cancellation));
        Task<string> kept = StoreClient.RefusalAsync(() => alive.ResponseStream.MoveNext(Cancellation));
        long begun = Stopwatch.GetTimestamp();
        store.Terminate();
        Assert.Equal("Unavailable: etcdserver: server stopped", await watched);
        Assert.Equal("Unavailable: etcdserver: server stopped", await kept);
        Assert.EndsWith("\"message\":\"etcdserver: server stopped\",\"http_status\":\"Service Unavailable\"}}", (await json.Content.ReadAsStringAsync(Cancellation)).TrimEnd(), StringComparison.Ordinal);
        Assert.Equal(0, await store.ExitAsync(Cancellation));

        // A call may take seven seconds; nobody waits for that here.
        Assert.InRange(Stopwatch.GetElapsedTime(begun), TimeSpan.Zero, TimeSpan.FromSeconds(6));
    }

    private static ByteString KeyOf(int writer) => ByteString.CopyFromUtf8($"w/{writer}");

    private static async Task<StatusCode> WriteUntilRefusedAsync(StoreClient client, int writer, long[] answered)
    {
        try
        {
            while (true)
            {
                await client.Kv.PutAsync(new PutRequest { Key = KeyOf(writer), Value = KeyOf(writer) }, cancellationToken: Cancellation);
                Interlocked.Increment(ref answered[writer]);
            }
        }
        catch (RpcException e)
        {
            return e.StatusCode;
        }
    }
}
