using System.Globalization;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>One single-member store as a child process, on free ports of the loopback, with a data directory of its own.</summary>
internal sealed class StoreProcess : IDisposable
{
    private const int Attempts = 4;
    private readonly HttpClient _http;
    private readonly bool _ownsDirectory;
    private ProgramRun _run;

    private StoreProcess(StoreKind kind, string directory, bool ownsDirectory, ProgramRun run, int port)
    {
        (Kind, DataDirectory, _ownsDirectory, _run, Port) = (kind, directory, ownsDirectory, run, port);
        _http = new HttpClient { BaseAddress = new Uri(Url), Timeout = TimeSpan.FromSeconds(20) };
    }

    public StoreKind Kind { get; }

    public string DataDirectory { get; }

    public int Port { get; }

    public string Url => $"http://127.0.0.1:{Port}";

    public HttpClient Http => _http;

    public string Said => _run.Said;

    public Task<bool> SaysAsync(string text, CancellationToken cancellation) => _run.SaysAsync(text, cancellation);

    public Task<int> ExitAsync(CancellationToken cancellation) => _run.ExitAsync(cancellation);

    public static string NewDirectory() => Directory.CreateTempSubdirectory("kapell-conformance-").FullName;

    /// <summary>Started and healthy. The test is skipped when the program is not installed.</summary>
    public static async Task<StoreProcess> StartAsync(StoreKind kind, CancellationToken cancellation, string? directory = null, params string[] more)
    {
        if (kind == StoreKind.Upstream && Programs.Etcd is null)
        {
            Assert.Skip("etcd is not installed: apt-get install etcd-server");
        }

        string data = directory ?? NewDirectory();
        for (int attempt = 1; ; attempt++)
        {
            // Between the choice of a port and its use another program may take it: then once more.
            (ProgramRun run, int port) = Launch(kind, data, more);
            StoreProcess store = new(kind, data, directory is null, run, port);
            if (await store.IsHealthyAsync(cancellation))
            {
                return store;
            }

            bool again = run.Said.Contains("address already in use", StringComparison.Ordinal) && attempt < Attempts;
            run.Dispose();
            store._http.Dispose();
            Assert.True(again, $"{kind} did not start: {run.Said}");
        }
    }

    /// <summary>Ends it hard, as a power failure of the process.</summary>
    public void Kill() => _run.Dispose();

    /// <summary>Asks it to end.</summary>
    public void Terminate() => _run.Terminate();

    public void Dispose()
    {
        _run.Dispose();
        _http.Dispose();
        if (_ownsDirectory && Directory.Exists(DataDirectory))
        {
            Directory.Delete(DataDirectory, recursive: true);
        }
    }

    private static (ProgramRun Run, int Port) Launch(StoreKind kind, string data, string[] more)
    {
        int port = FreePorts.Next();
        string client = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}");

        // The same for both, so that the numbers derived from it are the same; upstream listens elsewhere.
        const string peer = "http://127.0.0.1:2380";
        List<string> args =
        [
            "--data-dir", data, "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls",
            string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{FreePorts.Next()}"),
            "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer, "--max-txn-ops", "16",
            .. more,
        ];
        if (kind == StoreKind.Kapell)
        {
            args.Insert(0, "etcd");
        }
        else
        {
            args.AddRange(["--logger", "zap", "--log-level", "error"]);
        }

        return (ProgramRun.Start(kind == StoreKind.Kapell ? Programs.Kapell : Programs.Etcd!, args), port);
    }

    private async Task<bool> IsHealthyAsync(CancellationToken cancellation)
    {
        using PeriodicTimer pace = new(TimeSpan.FromMilliseconds(20));
        using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        late.CancelAfter(TimeSpan.FromSeconds(60));
        while (!_run.HasExited && await pace.WaitForNextTickAsync(late.Token))
        {
            try
            {
                string health = await _http.GetStringAsync("/health", late.Token);
                if (health.Contains("\"health\":\"true\"", StringComparison.Ordinal))
                {
                    return true;
                }
            }
            catch (HttpRequestException)
            {
                // Not yet.
            }
        }

        return false;
    }
}
