using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>One call: JSON values are messages in, JSON values are messages out.</summary>
internal sealed class GatewayExchange(IGatewayChannel channel, MethodDescriptor method, int bodyBytesMax, CancellationToken ending)
{
    private readonly PipeReader _body = channel.Requests;
    private JsonEnds _ends;

    public CancellationToken Ending => ending;

    /// <summary>The next message; null at the end of the body.</summary>
    /// <exception cref="RpcException">What comes is no message, or too long.</exception>
    public async Task<IMessage?> ReadAsync(CancellationToken cancellation)
    {
        while (true)
        {
            ReadResult read = await _body.ReadAsync(cancellation);
            bool found = false;
            bool mayEnd = _ends.MayEnd(read.Buffer) || read.IsCompleted;
            byte[]? json = null;
            long taken = 0;
            SequencePosition consumed = read.Buffer.End; // Of what cannot be read nothing is kept.
            try
            {
                found = mayEnd && TryTake(read, out json, out consumed);
                consumed = mayEnd ? consumed : read.Buffer.Start;
                taken = read.Buffer.Slice(0, consumed).Length;
            }
            finally
            {
                _body.AdvanceTo(consumed, found ? consumed : read.Buffer.End);
            }

            if (found)
            {
                _ends.Taken(taken);
                return json is null ? null : GatewayJson.Read(json, method.InputType);
            }

            if (read.Buffer.Length > bodyBytesMax)
            {
                throw new RpcException(new Status(StatusCode.ResourceExhausted, "http: request body too large"));
            }
        }
    }

    /// <summary>The one answer.</summary>
    public Task AnswerAsync(object response) => channel.AnswerAsync(GatewayJson.Write(ToMessage(response), wrapped: false));

    /// <summary>One of many.</summary>
    public Task StreamAsync(object response, CancellationToken cancellation) => channel.StreamAsync(GatewayJson.Write(ToMessage(response), wrapped: true), cancellation);

    private IMessage ToMessage(object response) =>
        response is Rpc.Reply reply ? method.OutputType.Parser.ParseFrom(reply.Take()) : (IMessage)response;

    /// <summary>A whole value, or the end of all (null); false when more must come first.</summary>
    private static bool TryTake(ReadResult read, out byte[]? json, out SequencePosition consumed)
    {
        json = null;
        consumed = read.Buffer.Start;
        try
        {
            Utf8JsonReader reader = new(read.Buffer, read.IsCompleted, new JsonReaderState(new JsonReaderOptions { AllowMultipleValues = true, MaxDepth = GatewayJson.DepthMax }));
            if (!reader.Read())
            {
                consumed = read.IsCompleted ? read.Buffer.End : consumed;
                return read.IsCompleted;
            }

            long start = reader.TokenStartIndex;
            if (!reader.TrySkip())
            {
                return false;
            }

            json = read.Buffer.Slice(start, reader.BytesConsumed - start).ToArray();
            consumed = reader.Position;
            return true;
        }
        catch (JsonException e)
        {
            consumed = read.Buffer.End;
            throw new RpcException(new Status(StatusCode.InvalidArgument, GatewayJson.WordsFor(read.Buffer.ToArray(), e)));
        }
    }
}
