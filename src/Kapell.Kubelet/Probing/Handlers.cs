using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Kubelet.Cri;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;

namespace Kapell.Kubelet.Probing;

/// <summary>How one call of a handler ended.</summary>
internal readonly record struct HandlerResult(bool Success, string Output);

/// <summary>Carries out the handlers of probes and lifecycle hooks: exec, httpGet, tcpSocket, grpc, sleep.</summary>
internal sealed class Handlers : IDisposable
{
    private const int BodyBytesMax = 10 * 1024;
    private readonly CriClient _cri;
    private readonly TimeProvider _time;
    private readonly HttpClient _http;

    public Handlers(CriClient cri, TimeProvider time)
    {
        _cri = cri;
        _time = time;
        SocketsHttpHandler handler = new() { AllowAutoRedirect = false, PooledConnectionLifetime = TimeSpan.Zero, UseProxy = false };
#pragma warning disable CA5359 // Kubernetes: a probe asks whether the container answers, not who it is; upstream does not verify either.
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
#pragma warning restore CA5359
        _http = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
    }

    public async Task<HandlerResult> RunAsync(
        JsonElement handler, ContainerSpec spec, string containerId, string podIp, TimeSpan timeout, CancellationToken cancellation)
    {
        using CancellationTokenSource deadline = new(timeout, _time);
        using CancellationTokenSource both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, deadline.Token);
        try
        {
            return handler.Has("exec") ? await ExecAsync(handler.Get("exec"), containerId, timeout, cancellation)
                : handler.Has("httpGet") ? await HttpAsync(handler.Get("httpGet"), spec, podIp, both.Token)
                : handler.Has("tcpSocket") ? await TcpAsync(handler.Get("tcpSocket"), spec, podIp, both.Token)
                : handler.Has("grpc") ? await GrpcAsync(handler.Get("grpc"), podIp, both.Token)
                : handler.Has("sleep") ? await SleepAsync(handler.Get("sleep"), both.Token)
                : new HandlerResult(false, "missing probe handler");
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return new HandlerResult(false, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
        }
    }

    /// <summary>A port by number or by the name it has in the container.</summary>
    public static int Port(JsonElement value, ContainerSpec spec)
    {
        if (value.ValueKind == JsonValueKind.Number)
        {
            return value.GetInt32();
        }

        string name = value.ValueKind == JsonValueKind.String ? value.GetString()! : "";
        JsonElement named = spec.Json.Items("ports").FirstOrDefault(p => p.Text("name") == name);
        return named.ValueKind == JsonValueKind.Object ? (int)named.Long("containerPort")
            : int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : 0;
    }

    public void Dispose() => _http.Dispose();

    private async Task<HandlerResult> ExecAsync(JsonElement exec, string containerId, TimeSpan timeout, CancellationToken cancellation)
    {
        ExecSyncRequest request = new() { ContainerId = containerId, Timeout = (long)Math.Ceiling(timeout.TotalSeconds) };
        request.Cmd.AddRange(exec.Items("command").Select(c => c.GetString() ?? ""));
        try
        {
            ExecSyncResponse answer = await _cri.Runtime.ExecSyncAsync(request, cancellationToken: cancellation);
            string output = answer.Stdout.ToStringUtf8() + answer.Stderr.ToStringUtf8();
            return new HandlerResult(answer.ExitCode == 0, Head(output));
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.DeadlineExceeded)
        {
            return new HandlerResult(false, $"command timed out: \"{string.Join(' ', request.Cmd)}\" timed out after {request.Timeout}s");
        }
        catch (RpcException e) when (!cancellation.IsCancellationRequested)
        {
            return new HandlerResult(false, CriClient.Text(e));
        }
    }

    private async Task<HandlerResult> HttpAsync(JsonElement get, ContainerSpec spec, string podIp, CancellationToken cancellation)
    {
        string host = get.Text("host") is { Length: > 0 } given ? given : podIp;
        string scheme = get.Text("scheme").Equals("https", StringComparison.OrdinalIgnoreCase) ? "https" : "http";
        int port = Port(get.Get("port"), spec);
        string path = get.Text("path");
        string url = $"{scheme}://{(host.Contains(':', StringComparison.Ordinal) ? $"[{host}]" : host)}:{port}{(path.StartsWith('/') ? path : "/" + path)}";
        if (!Uri.TryCreate(url, UriKind.Absolute, out Uri? uri))
        {
            return new HandlerResult(false, $"parse \"{url}\": invalid URL");
        }

        using HttpRequestMessage request = new(HttpMethod.Get, uri);
        request.Headers.UserAgent.Add(new ProductInfoHeaderValue("kube-probe", "1.35"));
        request.Headers.TryAddWithoutValidation("Accept", "*/*");
        foreach (JsonElement header in get.Items("httpHeaders"))
        {
            if (header.Text("name").Equals("Host", StringComparison.OrdinalIgnoreCase))
            {
                request.Headers.Host = header.Text("value");
            }
            else
            {
                request.Headers.Remove(header.Text("name"));
                request.Headers.TryAddWithoutValidation(header.Text("name"), header.Text("value"));
            }
        }

        try
        {
            using HttpResponseMessage answer = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
            int code = (int)answer.StatusCode;
            return new HandlerResult(code is >= 200 and < 400, code is >= 200 and < 400 ? "" : $"HTTP probe failed with statuscode: {code}");
        }
        catch (HttpRequestException e)
        {
            string why = e.InnerException is SocketException s ? Dial(host, port, s) : e.InnerException?.Message ?? e.Message;
            return new HandlerResult(false, $"Get \"{url}\": {why}");
        }
    }

    private static async Task<HandlerResult> TcpAsync(JsonElement tcp, ContainerSpec spec, string podIp, CancellationToken cancellation)
    {
        string host = tcp.Text("host") is { Length: > 0 } given ? given : podIp;
        int port = Port(tcp.Get("port"), spec);
        try
        {
            using Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(host, port, cancellation);
            return new HandlerResult(true, "");
        }
        catch (SocketException e)
        {
            return new HandlerResult(false, Dial(host, port, e));
        }
    }

    // grpc.health.v1.Health/Check: request field 1 is the service, answer field 1 the status, 1 is SERVING.
    private static async Task<HandlerResult> GrpcAsync(JsonElement grpc, string podIp, CancellationToken cancellation)
    {
        string host = podIp.Contains(':', StringComparison.Ordinal) ? $"[{podIp}]" : podIp;
        using GrpcChannel channel = GrpcChannel.ForAddress($"http://{host}:{grpc.Long("port")}");
        Marshaller<byte[]> bytes = Marshallers.Create(static b => b, static b => b);
        Method<byte[], byte[]> method = new(MethodType.Unary, "grpc.health.v1.Health", "Check", bytes, bytes);
        byte[] service = Encoding.UTF8.GetBytes(grpc.Text("service"));
        byte[] request = service.Length is 0 or > 127 ? [] : [0x0A, (byte)service.Length, .. service];
        try
        {
            byte[] answer = await channel.CreateCallInvoker().AsyncUnaryCall(method, null, new CallOptions(cancellationToken: cancellation), request);
            bool serving = answer is [0x08, 1, ..];
            return new HandlerResult(serving, serving ? "" : "service unhealthy (responded with \"NOT_SERVING\")");
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.Cancelled)
        {
            return new HandlerResult(false, $"error: health rpc probe failed: {CriClient.Text(e)}");
        }
    }

    private async Task<HandlerResult> SleepAsync(JsonElement sleep, CancellationToken cancellation)
    {
        await Task.Delay(TimeSpan.FromSeconds(Math.Clamp(sleep.Long("seconds"), 0, 3600)), _time, cancellation);
        return new HandlerResult(true, "");
    }

    // Go's words for a failed connect.
    private static string Dial(string host, int port, SocketException e)
    {
        string why = e.SocketErrorCode switch
        {
            SocketError.ConnectionRefused => "connect: connection refused",
            SocketError.HostUnreachable => "connect: no route to host",
            SocketError.NetworkUnreachable => "connect: network is unreachable",
            SocketError.TimedOut => "i/o timeout",
            _ => e.Message,
        };
        return $"dial tcp {(IPAddress.TryParse(host, out IPAddress? ip) && ip.AddressFamily == AddressFamily.InterNetworkV6 ? $"[{host}]" : host)}:{port}: {why}";
    }

    private static string Head(string text) => text.Length <= BodyBytesMax ? text : text[..BodyBytesMax];
}
