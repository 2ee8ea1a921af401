using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Kapell.Base;

namespace Kapell.Etcd.Server.Discovery;

/// <summary>
/// Asks the machine's name servers (/etc/resolv.conf) for records of services, which the platform's resolver cannot. By UDP; by TCP when the
/// answer was cut off.
/// </summary>
/// <param name="servers">In the order in which they are asked.</param>
internal sealed class DnsClient(IReadOnlyList<IPEndPoint> servers, Prng prng, TimeProvider time)
{
    private const int Port = 53;
    private const int Attempts = 2;
    private const int DatagramBytesMax = 65_535;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5); // resolv.conf(5): timeout

    public static DnsClient OfMachine(Prng prng, TimeProvider time)
    {
        const string path = "/etc/resolv.conf";
        string[] lines = File.Exists(path) ? File.ReadAllLines(path) : [];
        return new DnsClient(ServersOf(lines), prng, time);
    }

    /// <summary>The <c>nameserver</c> lines; none: this machine. An address may end in a port after <c>#</c>.</summary>
    public static IReadOnlyList<IPEndPoint> ServersOf(IEnumerable<string> lines)
    {
        List<IPEndPoint> found = [];
        foreach (string[] words in lines.Select(static l => l.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries)))
        {
            if (words is ["nameserver", string address, ..] && IPAddress.TryParse(address, out IPAddress? parsed))
            {
                found.Add(new IPEndPoint(parsed, Port));
            }
        }

        return found.Count > 0 ? found : [new IPEndPoint(IPAddress.Loopback, Port)];
    }

    /// <summary>In no order.</summary>
    /// <exception cref="IOException">No server answered, or there is no such name.</exception>
    public async Task<IReadOnlyList<SrvRecord>> SrvAsync(string name, CancellationToken cancellation)
    {
        byte[] question = DnsMessage.Question((ushort)prng.NextBelow(ushort.MaxValue), name);
        string trouble = "no name server is known";
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            foreach (IPEndPoint server in servers)
            {
                try
                {
                    byte[] answer = await ByUdpAsync(server, question, cancellation);
                    answer = DnsMessage.IsTruncated(answer) ? await ByTcpAsync(server, question, cancellation) : answer;
                    return DnsMessage.ReadSrv(answer, name);
                }
                catch (Exception e) when (e is SocketException or FormatException or IOException and not NoSuchNameException or TimeoutException)
                {
                    trouble = $"{server}: {e.Message}";
                }
            }
        }

        throw new IOException($"lookup {name}: {trouble}");
    }

    private async Task<byte[]> ByUdpAsync(IPEndPoint server, byte[] question, CancellationToken cancellation)
    {
        using Socket socket = new(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        late.CancelAfter(Patience);
        await socket.ConnectAsync(server, cancellation);
        await socket.SendAsync(question, cancellation);
        byte[] buffer = new byte[DatagramBytesMax];
        try
        {
            while (true)
            {
                int length = await socket.ReceiveAsync(buffer, late.Token);
                if (DnsMessage.Answers(buffer.AsSpan(0, length), question))
                {
                    return buffer[..length];
                }
            }
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new TimeoutException("i/o timeout");
        }
    }

    private async Task<byte[]> ByTcpAsync(IPEndPoint server, byte[] question, CancellationToken cancellation)
    {
        using Socket socket = new(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(server, cancellation).AsTask().WaitAsync(Patience, time, cancellation);
        await using NetworkStream stream = new(socket);
        byte[] prefixed = [(byte)(question.Length >> 8), (byte)question.Length, .. question];
        await stream.WriteAsync(prefixed, cancellation);
        byte[] length = new byte[2];
        await stream.ReadExactlyAsync(length, cancellation).AsTask().WaitAsync(Patience, time, cancellation);
        byte[] answer = new byte[BinaryPrimitives.ReadUInt16BigEndian(length)];
        await stream.ReadExactlyAsync(answer, cancellation).AsTask().WaitAsync(Patience, time, cancellation);
        return DnsMessage.Answers(answer, question) ? answer : throw new FormatException("the answer is to another question");
    }
}
