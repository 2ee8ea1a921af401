using System.Buffers;
using Grpc.Core;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http2;
using Kapell.Etcd.Tests.Http2;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Kapell.Etcd.Tests;

/// <summary>A call with a stream each way: on which thread its handler runs, and what it hears when its client goes.</summary>
public sealed class StreamingCallTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private static readonly Marshaller<byte[]> Bytes = Marshallers.Create(static b => b, static b => b);
    private readonly CallCounter _calls = new();
    private readonly Responder _responder = new();
    private readonly Http2Stream _stream = Responder.Stream((":method", "POST"), (":path", "/s/m"), ("content-type", "application/grpc"));

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public void A_message_is_answered_on_the_thread_that_brought_it()
    {
        int thread = 0;
        IHttp2Request call = Begin(async (requests, responses, context) =>
        {
            while (await requests.MoveNext(context.CancellationToken))
            {
                thread = Environment.CurrentManagedThreadId;
                await responses.WriteAsync(requests.Current);
            }
        });
        call.Data(Message());
        Assert.Equal(Environment.CurrentManagedThreadId, thread);
        Assert.Equal(1, _responder.Answers);
    }

    [Fact]
    public void Who_leaves_ends_the_handler_without_an_exception_and_is_counted_as_gone()
    {
        bool ended = false;
        IHttp2Request call = Begin(async (requests, _, context) =>
        {
            while (await requests.MoveNext(context.CancellationToken))
            {
                // Takes all.
            }

            ended = true;
        });
        call.Data(Message());
        Assert.True(WorkBatch.TryBegin());
        _stream.Cancel();
        call.Abort();
        Assert.False(ended); // Whoever reads the connection may be in the middle of something.
        WorkBatch.End();
        Assert.True(ended);
        Assert.Equal(1, Ended(StatusCode.Cancelled));
        Assert.Equal(0, _responder.Answers);
    }

    [Fact]
    public async Task Who_waits_with_a_token_of_his_own_hears_of_it_by_an_exception()
    {
        TaskCompletionSource<Exception?> thrown = new(TaskCreationOptions.RunContinuationsAsynchronously);
        using CancellationTokenSource own = new();
        IHttp2Request call = Begin(async (requests, _, _) => thrown.SetResult(await Record.ExceptionAsync(() => requests.MoveNext(own.Token))));
        _stream.Cancel();
        call.Abort();
        Assert.IsAssignableFrom<OperationCanceledException>(await thrown.Task.WaitAsync(Patience, Cancellation));
    }

    [Fact]
    public async Task Who_has_said_all_gets_a_status()
    {
        TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        IHttp2Request call = Begin(async (requests, _, context) =>
        {
            Assert.False(await requests.MoveNext(context.CancellationToken));
            ended.SetResult();
        });
        call.End();
        await ended.Task.WaitAsync(Patience, Cancellation);
        Assert.True(SpinWait.SpinUntil(() => _responder.Trailers is not null, Patience));
        Assert.Equal(1, Ended(StatusCode.OK));
        Assert.Contains("grpc-status", _responder.Trailers, StringComparison.Ordinal);
    }

    private static ReadOnlySequence<byte> Message() => new(new byte[] { 0, 0, 0, 0, 1, 7 });

    private long Ended(StatusCode code) => _calls.Handled.Single(h => h.Code == code).Calls;

    private IHttp2Request Begin(DuplexStreamingServerMethod<byte[], byte[]> handler)
    {
        GrpcBinder binder = new(_calls);
        binder.AddMethod(new Method<byte[], byte[]>(MethodType.DuplexStreaming, "s", "m", Bytes, Bytes), handler);
        GrpcServer server = new(binder, 2 << 20, static _ => Task.CompletedTask, new ServiceCollection().BuildServiceProvider(), NullLogger.Instance);
        return server.Begin(_responder, _stream);
    }
}
