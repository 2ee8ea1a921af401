using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Kubelet.Cri.V1;

namespace Kapell.Kubelet.Cri;

/// <summary>One gRPC channel over the runtime's unix socket, with the two CRI services on it.</summary>
internal sealed class CriClient : IDisposable
{
    private const int MessageBytesMax = 16 * 1024 * 1024;
    private readonly GrpcChannel _channel;

    /// <param name="endpoint"><c>unix:///run/containerd/containerd.sock</c> or a bare path.</param>
    public CriClient(string endpoint)
    {
        SocketPath = endpoint.StartsWith("unix://", StringComparison.Ordinal) ? endpoint["unix://".Length..] : endpoint;
        UnixDomainSocketEndPoint address = new(SocketPath);
        SocketsHttpHandler handler = new()
        {
            ConnectCallback = async (_, stopping) =>
            {
                Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(address, stopping);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
            EnableMultipleHttp2Connections = true,
        };
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
        {
            HttpHandler = handler, DisposeHttpClient = true, MaxReceiveMessageSize = MessageBytesMax, Credentials = ChannelCredentials.Insecure,
        });
        Runtime = new RuntimeService.RuntimeServiceClient(_channel);
        Images = new ImageService.ImageServiceClient(_channel);
    }

    public string SocketPath { get; }

    public RuntimeService.RuntimeServiceClient Runtime { get; }

    public ImageService.ImageServiceClient Images { get; }

    /// <summary>The text an event or status shows: the runtime's words, prefixed as Go's gRPC client prints them.</summary>
    public static string Text(RpcException error) => $"rpc error: code = {error.StatusCode} desc = {error.Status.Detail}";

    public void Dispose() => _channel.Dispose();
}
