using System.Threading.Channels;
using Google.Protobuf;
using Grpc.Core;

namespace Kapell.Etcd.Server.Proxies.Shared;

/// <summary>
/// The calls of one method with streams both ways: clients that may do the same share one stream to a member. When that stream breaks, theirs
/// do with the same status, and they go on as they do with a member.
/// </summary>
/// <param name="upstreams">Where to.</param>
/// <param name="view">What is changed in messages to and from the member.</param>
/// <param name="requestBytesMax">What a member takes. It ends the stream for more, which is not one client's alone.</param>
internal abstract class SharedStreams<TTrunk, TBranch>(Upstreams upstreams, MessageView view, int requestBytesMax, TimeProvider time)
    where TTrunk : ITrunk<TBranch>
    where TBranch : Branch, new()
{
    // Requests that may wait for the stream to the member before a client is heard again.
    private const int RequestsMax = 1024;

    // What the member judges by: who the caller is, whether it wants a leader, which client it is. The rest is each client's own.
    private static readonly string[] Told = ["token", "authorization", "hasleader", "client-api-version"];
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(5);

    private readonly Dictionary<string, Line> _lines = new(StringComparer.Ordinal);

    /// <summary>Guards all trunks.</summary>
    protected Lock Gate { get; } = new();

    /// <summary>Of the streams that there are; under the gate.</summary>
    protected IEnumerable<TTrunk> Trunks => _lines.Values.Select(static l => l.Trunk);

    public async Task ServeAsync(
        Method<byte[], byte[]> method, IAsyncStreamReader<byte[]> requests, IServerStreamWriter<byte[]> responses, ServerCallContext context)
    {
        // A client whose stream ends before it has sent anything does not learn why: etcd's takes that for an end, and does not try again.
        if (!await requests.MoveNext(context.CancellationToken))
        {
            return;
        }

        TBranch branch = new();
        Line line = Enter(method, branch, context);
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        Task sending = branch.SendAsync(responses, over.Token);
        Task receiving = ReceiveAsync(line, branch, requests, over.Token);
        try
        {
            // The client may have asked all it wanted, and listens on.
            await sending;
        }
        finally
        {
            await over.CancelAsync();
            await receiving;
            Leave(line, branch);
        }
    }

    // The first is read.
    private async Task ReceiveAsync(Line line, TBranch branch, IAsyncStreamReader<byte[]> requests, CancellationToken over)
    {
        try
        {
            do
            {
                if (requests.Current.Length > requestBytesMax)
                {
                    branch.End(new RpcException(new Status(
                        StatusCode.ResourceExhausted, $"trying to send message larger than max ({requests.Current.Length} vs. {requestBytesMax})")));
                    return;
                }

                lock (Gate)
                {
                    line.Trunk.Take(branch, requests.Current);
                }

                while (branch.IsBusy || line.Requests.Reader.Count > RequestsMax)
                {
                    await Task.Delay(Pace, time, over);
                }
            }
            while (await requests.MoveNext(over));

            lock (Gate)
            {
                line.Trunk.AskedAll(branch);
            }
        }
        catch (InvalidProtocolBufferException e)
        {
            branch.End(new RpcException(new Status(StatusCode.Internal, $"grpc: error unmarshalling request: {e.Message}")));
        }
        catch (Exception e)
        {
            // Nobody is left who hears it when the client has gone.
            branch.End(e);
        }
    }

    /// <summary>A stream begins.</summary>
    /// <param name="ask">Sends to the member, in this order.</param>
    protected abstract TTrunk Begin(Action<IMessage> ask);

    /// <summary>A stream has ended; under the gate.</summary>
    protected virtual void Ended(TTrunk trunk)
    {
    }

    private Line Enter(Method<byte[], byte[]> method, TBranch branch, ServerCallContext context)
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
        lock (Gate)
        {
            if (!_lines.TryGetValue(key, out Line? line))
            {
                line = new Line(key, upstreams.InOrder()[0], Begin);
                _lines.Add(key, line);
                _ = RunAsync(line, method, headers);
            }

            line.Branches.Add(branch);
            return line;
        }
    }

    private void Leave(Line line, TBranch branch)
    {
        lock (Gate)
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
            Ended(line.Trunk);
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
                byte[] response = view.Response(call.ResponseStream.Current);
                lock (Gate)
                {
                    line.Trunk.Received(response);
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

        lock (Gate)
        {
            // Who comes from now on gets a line of its own.
            Close(line);
            foreach (TBranch branch in line.Branches)
            {
                branch.End(why);
            }
        }
    }

    private async Task AskAsync(Line line, IClientStreamWriter<byte[]> to)
    {
        try
        {
            await foreach (IMessage request in line.Requests.Reader.ReadAllAsync(line.Ending.Token))
            {
                lock (Gate)
                {
                    line.Trunk.Sends(request);
                }

                await to.WriteAsync(view.Request(request.ToByteArray()), line.Ending.Token);
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
        /// <param name="begin">Makes the trunk.</param>
        public Line(string key, Upstream upstream, Func<Action<IMessage>, TTrunk> begin)
        {
            (Key, Upstream) = (key, upstream);
            Trunk = begin(request => Requests.Writer.TryWrite(request));
        }

        public string Key { get; }

        public Upstream Upstream { get; }

        public TTrunk Trunk { get; }

        public HashSet<TBranch> Branches { get; } = [];

        public Channel<IMessage> Requests { get; } = Channel.CreateUnbounded<IMessage>();

        public CancellationTokenSource Ending { get; } = new();
    }
}
