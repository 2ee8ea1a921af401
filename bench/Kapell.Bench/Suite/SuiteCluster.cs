using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Etcd.Protocol;

namespace Kapell.Bench.Suite;

/// <summary>Members of one store as processes on loopback, with fresh data and the same flags whoever they are.</summary>
internal sealed class SuiteCluster : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private readonly List<Process> _members = [];
    private readonly string _directory;

    private SuiteCluster(string name, string directory) => (Name, _directory) = (name, directory);

    public string Name { get; }

    public IReadOnlyList<int> Pids => [.. _members.Select(static m => m.Id)];

    /// <summary>Where clients call: the leader.</summary>
    public string Url { get; private set; } = "";

    /// <param name="command">The program and what comes before its flags, such as <c>kapell etcd</c>.</param>
    /// <exception cref="IOException">It cannot be started, or has no leader after a minute.</exception>
    public static async Task<SuiteCluster> StartAsync(
        string name, string command, IReadOnlyList<string> flags, int members, string directory, CancellationToken cancellation)
    {
        SuiteCluster cluster = new(name, directory);
        (int Client, int Peer)[] ports = [.. FreePorts(members * 2).Chunk(2).Select(static p => (p[0], p[1]))];
        string initial = string.Join(',', ports.Select(static (p, i) => $"m{i}=http://127.0.0.1:{p.Peer}"));
        string[] words = command.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        for (int i = 0; i < members; i++)
        {
            string data = Path.Combine(directory, $"m{i}");
            Directory.CreateDirectory(directory);
            ProcessStartInfo start = new(words[0]) { RedirectStandardError = true, RedirectStandardOutput = true };
            string client = $"http://127.0.0.1:{ports[i].Client}";
            string peer = $"http://127.0.0.1:{ports[i].Peer}";
            string[] all =
            [
                .. words[1..], "--name", $"m{i}", "--data-dir", data, "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", initial, "--quota-backend-bytes", "8000000000",
                .. flags,
            ];
            foreach (string argument in all)
            {
                start.ArgumentList.Add(argument);
            }

            Process process = Process.Start(start) ?? throw new IOException($"{words[0]} cannot be started");
            process.OutputDataReceived += static (_, _) => { };
            process.ErrorDataReceived += static (_, _) => { };
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            cluster._members.Add(process);
        }

        cluster.Url = await LeaderAsync([.. ports.Select(static p => $"http://127.0.0.1:{p.Client}")], cancellation);
        return cluster;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Process member in _members)
        {
            member.Kill();
            await member.WaitForExitAsync();
            member.Dispose();
        }

        Directory.Delete(_directory, recursive: true);
    }

    private static async Task<string> LeaderAsync(string[] urls, CancellationToken cancellation)
    {
        long begun = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(begun) < Patience)
        {
            foreach (string url in urls)
            {
                using GrpcChannel channel = GrpcChannel.ForAddress(url);
                try
                {
                    StatusResponse status = await new Maintenance.MaintenanceClient(channel).StatusAsync(
                        new StatusRequest(), deadline: DateTime.UtcNow.AddSeconds(2), cancellationToken: cancellation);
                    if (status.Leader != 0 && status.Leader == status.Header.MemberId)
                    {
                        return url;
                    }
                }
                catch (RpcException) when (!cancellation.IsCancellationRequested)
                {
                    // Not up yet.
                }
            }

            await Task.Delay(200, cancellation);
        }

        throw new IOException($"no leader after {Patience.TotalSeconds} s at {string.Join(", ", urls)}");
    }

    private static List<int> FreePorts(int count)
    {
        List<TcpListener> listeners = [.. Enumerable.Range(0, count).Select(static _ => new TcpListener(IPAddress.Loopback, 0))];
        listeners.ForEach(static l => l.Start());
        List<int> ports = [.. listeners.Select(static l => ((IPEndPoint)l.LocalEndpoint).Port)];
        listeners.ForEach(static l => l.Stop());
        return ports;
    }
}
