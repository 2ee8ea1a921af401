using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Fuzz.Inputs;
using Kapell.Fuzz.Targets;
using Kapell.Raft;
using Kapell.Raft.Encoding;
using Kapell.Storage;

namespace Kapell.Fuzz.Live;

/// <summary>
/// The same against a real process: every port, several connections at once. Afterwards it must run, be well, hold no more memory than
/// before but for a bound, and have had no exception that it did not expect.
/// </summary>
internal sealed class LiveFuzz(Runner runner, ulong seed, int port)
{
    private const int Workers = 6;
    private const long GrowthMegabytesMax = 700;
    private static readonly TimeSpan AnswerMax = TimeSpan.FromMilliseconds(300);

    private static readonly string[] Unexpected = ["failed unexpectedly", "Unhandled exception", "cannot go on", "An unhandled exception was thrown by the application"];

    // After these it could not serve: another member that never comes, itself removed, an alarm.
    private static readonly HashSet<string> Spared = ["MemberAdd", "MemberRemove", "MemberUpdate", "Alarm"];

    private int _read;

    private readonly MethodDescriptor[] _methods = [.. Samples.Methods.Where(static m => !Spared.Contains(m.Name))];

    private readonly byte[][] _requests = [.. new[]
    {
        "GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "GET /version HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /readyz?verbose&exclude=x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /livez/serializable_read HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n{\"key\":\"Zm9v\",\"value\":\"YmFy\"} ",
        "POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"key\":\"Zm9v\"   \r\n1\r\n}\r\n0\r\n\r\n",
        "POST /v3/watch HTTP/1.1\r\nHost: a\r\nContent-Length: 37\r\n\r\n{\"create_request\":{\"key\":\"Zm9v\"} }   ",
        "OPTIONS /v3/kv/put HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\nAccess-Control-Request-Method: POST\r\n\r\n",
        "POST /v3/lease/grant HTTP/1.1\r\nHost: a\r\nAuthorization: x.y.z\r\nContent-Length: 12\r\n\r\n{\"TTL\":\"60\"}",
        "POST /v3/kv/txn HTTP/1.1\r\nHost: a\r\nContent-Length: 64\r\n\r\n{\"success\":[{\"request_put\":{\"key\":\"Zm9v\",\"value\":\"YmFy\"}}]}     ",
    }.Select(Encoding.ASCII.GetBytes)];

    private readonly byte[] _hello =
    [
        22, 3, 1, 0, 61, 1, 0, 0, 57, 3, 3, .. new byte[32], 0, 0, 4, 0x13, 0x01, 0x13, 0x02, 1, 0, 0, 12, 0, 43, 0, 3, 2, 3, 4, 0, 10, 0, 1, 0,
    ];

    public async Task RunAsync(TimeSpan time)
    {
        using LiveProcess live = new(port);
        if (!await live.IsWellAsync())
        {
            runner.Note($"live: the member does not begin:\n{live.Said}");
            return;
        }

        long before = live.ResidentMegabytes();
        Http2Target frames = new();
        await DriveAsync(live, "live-grpc", time, (m, _) => GrpcAsync(live, m));
        await DriveAsync(live, "live-http1", time, (m, _) => ExchangeAsync(live.Clear, m.Mutate(_requests[m.Prng.NextInt(0, _requests.Length)], _requests), checkStatus: true));
        await DriveAsync(live, "live-http2", time, (m, _) => ExchangeAsync(live.Clear,
            [.. "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8, .. frames.Mutate(m, frames.Corpus[m.Prng.NextInt(0, frames.Corpus.Count)])], checkStatus: false));
        await DriveAsync(live, "live-raw", time, (m, _) => ExchangeAsync(live.Clear, m.Random(m.Prng.NextInt(1, 400)), checkStatus: false));
        await DriveAsync(live, "live-tls", time, (m, _) => m.Prng.Chance(0.7)
            ? ExchangeAsync(live.Tls, m.Mutate(_hello, [_hello]), checkStatus: false)
            : InTlsAsync(live.Tls, m.Mutate(_requests[m.Prng.NextInt(0, _requests.Length)], _requests)));
        string cluster = await PeerHeadersAsync(live);
        PeerTarget messages = new();
        await DriveAsync(live, "live-peer", time, (m, _) => PeerAsync(live, m, cluster, messages));
        long grown = live.ResidentMegabytes() - before;
        Console.WriteLine($"ok live: resident {before} MB before, {live.ResidentMegabytes()} MB after, {live.Threads()} threads");
        if (grown > GrowthMegabytesMax)
        {
            runner.Note($"live: {grown} MB more are resident");
        }
    }

    private async Task DriveAsync(LiveProcess live, string name, TimeSpan time, Func<Mutator, int, Task<bool>> one)
    {
        (long count, long accepted) = (0, 0);
        long begun = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, Workers).Select(worker => Task.Run(async () =>
        {
            Mutator mutator = new(new Prng((seed * 31) + (ulong)worker));
            while (Stopwatch.GetElapsedTime(begun) < time && !live.HasExited)
            {
                bool good = await one(mutator, worker);
                Interlocked.Increment(ref count);
                Interlocked.Add(ref accepted, good ? 1 : 0);
            }
        })));
        double seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        bool well = await live.IsWellAsync();
        Console.WriteLine($"{(well ? "ok" : "not ok")} {name,-16} {count,9} inputs {count / seconds,9:f0}/s, {accepted,8} answered, resident {live.ResidentMegabytes()} MB");
        string said = live.Said[_read..];
        _read += said.Length;
        if (!well)
        {
            runner.Note($"{name}: the member {(live.HasExited ? "ended" : "is not well")}:\n{said[Math.Max(0, said.Length - 4000)..]}");
        }

        foreach (string text in Unexpected.Where(u => said.Contains(u, StringComparison.Ordinal)))
        {
            int at = said.IndexOf(text, StringComparison.Ordinal);
            runner.Note($"{name}: {said[at..Math.Min(said.Length, at + 1500)]}");
        }
    }

    private async Task<bool> GrpcAsync(LiveProcess live, Mutator mutator)
    {
        MethodDescriptor method = _methods[mutator.Prng.NextInt(0, _methods.Length)];
        byte[] right = Samples.Fill(method.InputType, mutator.Prng).ToByteArray();
        byte[] body = mutator.Prng.Chance(0.3) ? right : mutator.Mutate(right, [right]);
        byte flag = (byte)(mutator.Prng.Chance(0.05) ? mutator.Prng.NextInt(0, 4) : 0);
        int length = mutator.Prng.Chance(0.05) ? mutator.Prng.NextInt(0, int.MaxValue) : body.Length;
        using HttpRequestMessage request = new(HttpMethod.Post, new Uri($"http://127.0.0.1:{live.Clear}{Samples.PathOf(method)}"))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent([flag, (byte)(length >> 24), (byte)(length >> 16), (byte)(length >> 8), (byte)length, .. body]),
        };
        request.Content.Headers.TryAddWithoutValidation("Content-Type", "application/grpc");
        request.Headers.TryAddWithoutValidation("te", "trailers");
        request.Headers.TryAddWithoutValidation("grpc-encoding", "gzip");
        using CancellationTokenSource late = new(AnswerMax);
        try
        {
            using HttpResponseMessage response = await live.Http.SendAsync(request, late.Token);
            await response.Content.ReadAsByteArrayAsync(late.Token);
            string status = Header(response, "grpc-status");
            if (status.Length == 0)
            {
                runner.Note($"live-grpc: {Samples.PathOf(method)} answered {(int)response.StatusCode} with grpc-status \"{status}\": {Header(response, "grpc-message")}\n  input: {Convert.ToHexString(body)}");
            }

            return true;
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException or IOException)
        {
            // Streams that wait, and connections that the last input broke.
            return false;
        }
    }

    private static string Header(HttpResponseMessage response, string name) =>
        response.TrailingHeaders.TryGetValues(name, out IEnumerable<string>? last) || response.Headers.TryGetValues(name, out last) ? string.Join(',', last) : "";

    /// <summary>Sends it all, then reads for a moment.</summary>
    private async Task<bool> ExchangeAsync(int to, byte[] input, bool checkStatus)
    {
        using Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, LingerState = new LingerOption(true, 0) };
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, to);
            await using NetworkStream stream = new(socket);
            return await ExchangeAsync(stream, input, checkStatus);
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            return false;
        }
    }

    private async Task<bool> ExchangeAsync(Stream stream, byte[] input, bool checkStatus)
    {
        using CancellationTokenSource late = new(AnswerMax);
        await stream.WriteAsync(input, late.Token);
        byte[] answer = new byte[2048];
        int read = await stream.ReadAsync(answer, late.Token);
        string said = Encoding.ASCII.GetString(answer, 0, read);
        if (checkStatus && said.StartsWith("HTTP/1.1 500", StringComparison.Ordinal) && !said.Contains("\"code\":", StringComparison.Ordinal))
        {
            runner.Note($"live-http1: {said}\n  input: {Convert.ToHexString(input)}");
        }

        return read > 0;
    }

    private async Task<bool> InTlsAsync(int to, byte[] input)
    {
        using Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, LingerState = new LingerOption(true, 0) };
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, to);
            await using SslStream tls = new(new NetworkStream(socket), false, static (_, certificate, _, _) => certificate is not null);
            await tls.AuthenticateAsClientAsync("localhost");
            return await ExchangeAsync(tls, input, checkStatus: true);
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException or System.Security.Authentication.AuthenticationException)
        {
            return false;
        }
    }

    private static async Task<string> PeerHeadersAsync(LiveProcess live)
    {
        ClusterView view = ClusterView.Parser.ParseFrom(await live.Http.GetByteArrayAsync(new Uri($"http://127.0.0.1:{live.Peer}/kapell/cluster")));
        return string.Create(CultureInfo.InvariantCulture, $"X-Etcd-Cluster-ID: {view.ClusterId:x}\r\nX-Raft-To: {view.Members[0].ID:x}\r\nX-Server-From: 2\r\nX-PeerURLs: http://127.0.0.1:1\r\n");
    }

    /// <summary>Streams of a member that says it is number 2, its checkpoints, what followers ask the leader, and any of it broken.</summary>
    private async Task<bool> PeerAsync(LiveProcess live, Mutator mutator, string headers, PeerTarget messages)
    {
        byte[] framed = mutator.Mutate(messages.Corpus[mutator.Prng.NextInt(0, messages.Corpus.Count)], messages.Corpus);
        byte[] body = RaftCodec.Encode(new InstallSnapshot(new MemberId(2), new MemberId(1), new Term(1), new SnapshotMetadata(default, new ConfState())));
        string text = mutator.Prng.NextInt(0, 6) switch
        {
            0 => $"POST /kapell/raft/snapshot HTTP/1.1\r\nHost: a\r\n{headers}X-Kapell-Message: {Convert.ToBase64String(mutator.Prng.Chance(0.5) ? body : mutator.Mutate(body, [body]))}\r\nContent-Length: {framed.Length}\r\n\r\n",
            1 => $"POST /leases HTTP/1.1\r\nHost: a\r\nContent-Length: {framed.Length}\r\n\r\n",
            2 => $"POST /leases/internal HTTP/1.1\r\nHost: a\r\nContent-Length: {framed.Length}\r\n\r\n",
            3 => $"POST /members/promote/{mutator.Prng.NextUInt64():x} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            _ => $"GET /kapell/raft/stream/{(mutator.Prng.Chance(0.5) ? "Urgent" : "Bulk")} HTTP/1.1\r\nHost: a\r\n{headers}Connection: Upgrade\r\nUpgrade: kapell-raft-1\r\n\r\n",
        };
        byte[] head = Encoding.ASCII.GetBytes(text);
        byte[] input = [.. mutator.Prng.Chance(0.2) ? mutator.Mutate(head, [head]) : head, .. Frames(framed)];
        return await ExchangeAsync(live.Peer, input, checkStatus: false);
    }

    private static byte[] Frames(byte[] list)
    {
        List<byte> frames = [];
        for (int at = 0; at + 2 <= list.Length;)
        {
            int length = Math.Min(list[at] | (list[at + 1] << 8), list.Length - at - 2);
            byte[] body = list[(at + 2)..(at + 2 + length)];
            frames.AddRange(BitConverter.GetBytes(length));
            frames.AddRange(BitConverter.GetBytes(Crc32C.Compute(body)));
            frames.AddRange(body);
            at += 2 + length;
        }

        return [.. frames];
    }
}
