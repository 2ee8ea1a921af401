using Grpc.Core;
using Google.Protobuf.Reflection;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>Carries out one exchange with the method's handler.</summary>
internal delegate Task GatewayHandler(GatewayExchange exchange, ServerCallContext context);

/// <summary>Collects the same handlers as the gRPC port from the generated <c>BindService</c>, for messages that come as JSON.</summary>
internal sealed class GatewayBinder(IEnumerable<ServiceDescriptor> services) : ServiceBinderBase
{
    private readonly Dictionary<string, MethodDescriptor> _descriptors =
        services.SelectMany(static s => s.Methods).ToDictionary(static m => $"/{m.Service.FullName}/{m.Name}", StringComparer.Ordinal);

    public Dictionary<string, (MethodDescriptor Method, GatewayHandler Handler)> Handlers { get; } = new(StringComparer.Ordinal);

    public override void AddMethod<TRequest, TResponse>(Method<TRequest, TResponse> method, UnaryServerMethod<TRequest, TResponse>? handler) =>
        Add(method.FullName, async (exchange, context) => await exchange.AnswerAsync(await handler!(await FirstAsync<TRequest>(exchange, method), context)));

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ServerStreamingServerMethod<TRequest, TResponse>? handler) =>
        Add(method.FullName, async (exchange, context) => await handler!(
            await FirstAsync<TRequest>(exchange, method), new Writer<TResponse>(exchange, context.CancellationToken), context));

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, DuplexStreamingServerMethod<TRequest, TResponse>? handler) =>
        Add(method.FullName, (exchange, context) => handler!(
            new Reader<TRequest>(exchange), new Writer<TResponse>(exchange, context.CancellationToken), context));

    private void Add(string fullName, GatewayHandler handler) => Handlers[fullName] = (_descriptors[fullName], handler);

    // An empty body is an empty message.
    private async Task<TRequest> FirstAsync<TRequest>(GatewayExchange exchange, IMethod method) => (TRequest)(object)(
        await exchange.ReadAsync(exchange.Ending) ?? GatewayJson.Read("{}"u8, _descriptors[method.FullName].InputType));

    private sealed class Reader<T>(GatewayExchange exchange) : IAsyncStreamReader<T>
    {
        public T Current { get; private set; } = default!;

        public async Task<bool> MoveNext(CancellationToken cancellationToken)
        {
            if (await exchange.ReadAsync(cancellationToken) is not { } message)
            {
                return false;
            }

            Current = (T)message;
            return true;
        }
    }

    private sealed class Writer<T>(GatewayExchange exchange, CancellationToken ending) : IServerStreamWriter<T>
    {
        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(T message) => exchange.StreamAsync(message!, ending);

        public Task WriteAsync(T message, CancellationToken cancellationToken) => exchange.StreamAsync(message!, cancellationToken);
    }
}
