using System.Globalization;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Base;
using Kapell.Etcd.Protocol;

namespace Kapell.Bench.Scale;

/// <summary>What a watch that is only there costs in memory of the server, and whether the last of many still hears of its key.</summary>
internal static class WatchesCommand
{
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, CancellationToken cancellation)
    {
        FlagSet flags = new("Kapell.Bench watches", "Opens many watches, each on a key of its own, and prints the resident memory of the server per watch.");
        FlagValue<string> target = flags.String("target", "http://127.0.0.1:2379", "URL of an etcd endpoint");
        FlagValue<int> pid = flags.Int("server-pid", 0, "process of the target");
        FlagValue<int> watches = flags.Int("watches", 100_000, "watches in all");
        FlagValue<int> streams = flags.Int("streams", 10, "streams they are spread over");
        flags.Examples.Add("Kapell.Bench watches --target http://127.0.0.1:2379 --server-pid 11 --watches 1000000");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            await output.WriteLineAsync(flags.Help());
            return 0;
        }

        if (pid.Value <= 0 || watches.Value < streams.Value || streams.Value <= 0)
        {
            throw new FlagException("--server-pid is needed, and at least one watch a stream");
        }

        using GrpcChannel channel = GrpcChannel.ForAddress(target.Value);
        KV.KVClient kv = new(channel);
        await kv.PutAsync(new PutRequest { Key = Key(0) }, cancellationToken: cancellation);
        await Task.Delay(3000, cancellation);
        long before = ServerProcess.Sample(pid.Value)!.Value.ResidentBytes;
        Watch.WatchClient client = new(channel);
        int each = watches.Value / streams.Value;
        List<AsyncDuplexStreamingCall<WatchRequest, WatchResponse>> calls = [];
        for (int s = 0; s < streams.Value; s++)
        {
            calls.Add(client.Watch(cancellationToken: cancellation));
        }

        await Task.WhenAll(calls.Select((call, s) => OpenAsync(call, s * each, each, cancellation)));
        await Task.Delay(3000, cancellation);
        long after = ServerProcess.Sample(pid.Value)!.Value.ResidentBytes;
        int last = (each * streams.Value) - 1;
        await kv.PutAsync(new PutRequest { Key = Key(last) }, cancellationToken: cancellation);
        bool heard = await calls[^1].ResponseStream.MoveNext(cancellation) && calls[^1].ResponseStream.Current.Events[0].Kv.Key == Key(last);
        await output.WriteLineAsync(string.Create(
            CultureInfo.InvariantCulture,
            $"{each * streams.Value} watches on {streams.Value} streams: {(after - before) / 1e6:F1} MB more, {(after - before) / (double)(each * streams.Value):F0} B a watch; the last one heard: {heard}"));
        return heard ? 0 : 1;
    }

    private static async Task OpenAsync(
        AsyncDuplexStreamingCall<WatchRequest, WatchResponse> call, int first, int count, CancellationToken cancellation)
    {
        const int Ahead = 500;
        int answered = 0;
        for (int i = 0; i < count; i++)
        {
            await call.RequestStream.WriteAsync(new WatchRequest { CreateRequest = new WatchCreateRequest { Key = Key(first + i) } }, cancellation);
            for (; answered < i - Ahead || (i == count - 1 && answered < count); answered++)
            {
                if (!await call.ResponseStream.MoveNext(cancellation) || !call.ResponseStream.Current.Created)
                {
                    throw new InvalidDataException("a watch was not created");
                }
            }
        }
    }

    private static ByteString Key(int number) => ByteString.CopyFromUtf8("watches/" + number.ToString("D16", CultureInfo.InvariantCulture));
}
