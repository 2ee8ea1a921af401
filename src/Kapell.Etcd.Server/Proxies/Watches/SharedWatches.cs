using System.Threading.Channels;
using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Proxies.Watches;

/// <summary>
/// The Watch calls of a proxy: clients that may see the same share one stream to a member, and clients that watch the same share one watch.
/// When that stream breaks, theirs do with the same status, and they resume as they do with a member.
/// </summary>
/// <param name="upstreams">Where to.</param>
/// <param name="view">What is changed in messages to and from the member.</param>
/// <param name="requestBytesMax">What a member takes. It ends the stream for more, which is not one client's alone.</param>
internal sealed class SharedWatches(Upstreams upstreams, MessageView view, int requestBytesMax, TimeProvider time)
{
    // Requests that a client may have under way before it is heard again.
    private const int RequestsMax = 1024;

    // What the member judges by: who the caller is, whether it wants a leader, which client it is. The rest is each client's own.
    private static readonly string[] Told = ["token", "authorization", "hasleader", "client-api-version"];
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(5);

    private readonly Lock _gate = new(); // Guards the fields below and all trunks.
    private readonly Dictionary<string, Line> _lines = new(StringComparer.Ordinal);
    private long _sparedBefore; // By lines that have ended.

    /// <summary>Watches of clients that live on another's watch, and event responses that the members did not have to send.</summary>
    public (long Watches, long Responses) Spared
    {
        get
        {
            lock (_gate)
            {
                return (_lines.Values.Sum(static l => l.Trunk.Receivers - l.Trunk.Feeds), _sparedBefore + _lines.Values.Sum(static l => l.Trunk.Spared));
            }
        }
    }

    public async Task ServeAsync(
        Method<byte[], byte[]> method, IAsyncStreamReader<byte[]> requests, IServerStreamWriter<byte[]> responses, ServerCallContext context)
    {
        WatchBranch branch = new();
        Line line = Enter(method, branch, context);
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        Task sending = branch.SendAsync(responses, over.Token);
        Task receiving = ReceiveAsync(line, branch, requests, over.Token);
        try
        {
            // The client may have said all it wanted; its watches go on until it leaves.
            await sending;
        }
        finally
        {
            await over.CancelAsync();
            await receiving;
            Leave(line, branch);
        }
    }

    private async Task ReceiveAsync(Line line, WatchBranch branch, IAsyncStreamReader<byte[]> requests, CancellationToken over)
    {
        try
        {
            while (await requests.MoveNext(over))
            {
                if (requests.Current.Length > requestBytesMax)
                {
                    branch.End(new RpcException(new Status(
                        StatusCode.ResourceExhausted, $"trying to send message larger than max ({requests.Current.Length} vs. {requestBytesMax})")));
                    return;
                }

                WatchRequest request = WatchRequest.Parser.ParseFrom(requests.Current);
                lock (_gate)
                {
                    Take(line.Trunk, branch, request);
                }

                while (line.Requests.Reader.Count > RequestsMax)
                {
                    await Task.Delay(Pace, time, over);
                }
            }
        }
        catch (Google.Protobuf.InvalidProtocolBufferException e)
        {
            branch.End(new RpcException(new Status(StatusCode.Internal, $"grpc: error unmarshalling request: {e.Message}")));
        }
        catch (Exception e)
        {
            // Nobody is left who hears it when the client has gone.
            branch.End(e);
        }
    }

    private static void Take(WatchTrunk trunk, WatchBranch branch, WatchRequest request)
    {
        switch (request.RequestUnionCase)
        {
            case WatchRequest.RequestUnionOneofCase.CreateRequest:
                trunk.Create(branch, request.CreateRequest);
                break;
            case WatchRequest.RequestUnionOneofCase.CancelRequest:
                trunk.Cancel(branch, request.CancelRequest.WatchId);
                break;
            case WatchRequest.RequestUnionOneofCase.ProgressRequest:
                trunk.AskProgress(branch);
                break;
        }
    }

    private Line Enter(Method<byte[], byte[]> method, WatchBranch branch, ServerCallContext context)
    {
        Metadata headers = [];
        foreach (string name in Told)
        {
            if (context.RequestHeaders.GetValue(name) is { } value)
            {
                headers.Add(name, value);
            }
        }

        string key = string.Join('\n', headers.Select(static h => $"{h.Key}={h.Value}"));
        lock (_gate)
        {
            if (!_lines.TryGetValue(key, out Line? line))
            {
                line = new Line(key, upstreams.InOrder()[0]);
                _lines.Add(key, line);
                _ = RunAsync(line, method, headers);
            }

            line.Branches.Add(branch);
            return line;
        }
    }

    private void Leave(Line line, WatchBranch branch)
    {
        lock (_gate)
        {
            line.Trunk.Leave(branch);
            line.Branches.Remove(branch);
            if (line.Branches.Count == 0)
            {
                Close(line);
            }
        }
    }

    private void Close(Line line)
    {
        if (_lines.GetValueOrDefault(line.Key) == line)
        {
            _lines.Remove(line.Key);
            _sparedBefore += line.Trunk.Spared;
        }

        line.Ending.Cancel();
    }

    private async Task RunAsync(Line line, Method<byte[], byte[]> method, Metadata headers)
    {
        Exception? why = null;
        try
        {
            await Task.Yield();
            using AsyncDuplexStreamingCall<byte[], byte[]> call =
                line.Upstream.Channel.CreateCallInvoker().AsyncDuplexStreamingCall(method, null, new CallOptions(headers, cancellationToken: line.Ending.Token));
            Task asking = AskAsync(line, call.RequestStream);
            while (await call.ResponseStream.MoveNext(line.Ending.Token))
            {
                upstreams.Heard(line.Upstream);
                byte[] bytes = view.Response(call.ResponseStream.Current);
                WatchResponse response = WatchResponse.Parser.ParseFrom(bytes);
                lock (_gate)
                {
                    line.Trunk.Received(response, bytes.Length);
                }
            }

            await line.Ending.CancelAsync();
            await asking;
        }
        catch (Exception e) when (e is RpcException or ObjectDisposedException)
        {
            RpcException plain = UpstreamCalls.Plain(e, line.Upstream);
            if (plain.StatusCode == StatusCode.Unavailable && !line.Ending.IsCancellationRequested)
            {
                upstreams.Suspect(line.Upstream, plain.Status.Detail);
            }

            why = plain;
        }
        catch (Exception e)
        {
            // Whatever it is: nobody is to wait on a line that is not heard any more.
            why = new RpcException(new Status(StatusCode.Unavailable, $"etcd grpc-proxy: {e.Message}"));
        }

        lock (_gate)
        {
            // Who comes from now on gets a line of its own.
            Close(line);
            foreach (WatchBranch branch in line.Branches)
            {
                branch.End(why);
            }
        }
    }

    private async Task AskAsync(Line line, IClientStreamWriter<byte[]> to)
    {
        try
        {
            await foreach (WatchRequest request in line.Requests.Reader.ReadAllAsync(line.Ending.Token))
            {
                await to.WriteAsync(view.Request(Google.Protobuf.MessageExtensions.ToByteArray(request)), line.Ending.Token);
            }
        }
        catch (Exception e) when (e is RpcException or OperationCanceledException or InvalidOperationException or IOException)
        {
            // The other direction knows why.
            return;
        }
    }

    /// <summary>One stream to a member.</summary>
    private sealed class Line
    {
        public Line(string key, Upstream upstream)
        {
            (Key, Upstream) = (key, upstream);
            Trunk = new WatchTrunk(request => Requests.Writer.TryWrite(request));
        }

        public string Key { get; }

        public Upstream Upstream { get; }

        public WatchTrunk Trunk { get; }

        public HashSet<WatchBranch> Branches { get; } = [];

        public Channel<WatchRequest> Requests { get; } = Channel.CreateUnbounded<WatchRequest>();

        public CancellationTokenSource Ending { get; } = new();
    }
}
