using Grpc.Core;

namespace Kapell.Bench.Light;

/// <summary>Lets the generated clients call over a <see cref="LightConnection"/>.</summary>
internal sealed class LightInvoker(Uri address) : CallInvoker, IDisposable
{
    private readonly LightConnection _connection = LightConnection.Open(address);

    public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        options.CancellationToken.ThrowIfCancellationRequested();
        LightUnaryCall<TResponse> call = new(method.FullName, method.ResponseMarshaller);
        _connection.Send(call, LightMessage.Write(method.RequestMarshaller, request), ends: true, options.CancellationToken);
        return new AsyncUnaryCall<TResponse>(
            call.Answer, static _ => Task.FromResult(Metadata.Empty), static c => ((LightUnaryCall<TResponse>)c).Status, static _ => Metadata.Empty,
            static _ => { }, call);
    }

    public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        LightStreamCall<TRequest, TResponse> call = new(_connection, method);
        CancellationTokenRegistration cancelling = options.CancellationToken.UnsafeRegister(_ => _connection.Cancel(call), null);
        return new AsyncDuplexStreamingCall<TRequest, TResponse>(
            call, call, Task.FromResult(Metadata.Empty), () => call.Status, static () => Metadata.Empty, () =>
            {
                cancelling.Dispose();
                _connection.Cancel(call);
            });
    }

    public override TResponse BlockingUnaryCall<TRequest, TResponse>(Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request) =>
        throw new NotSupportedException("calls are asynchronous");

    public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request) =>
        throw new NotSupportedException("no scenario streams from the server alone");

    public override AsyncClientStreamingCall<TRequest, TResponse> AsyncClientStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options) =>
        throw new NotSupportedException("no scenario streams to the server alone");

    public void Dispose() => _connection.Dispose();
}
