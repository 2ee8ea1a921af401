using System.Globalization;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>A <c>kapell etcd grpc-proxy</c>, or one of etcd's, as a child process, on a free port of the loopback.</summary>
internal sealed class ProxyProcess : IDisposable
{
    private const int Attempts = 4;
    private readonly ProgramRun _run;
    private readonly HttpClient _http;

    private ProxyProcess(ProgramRun run, string url)
    {
        (_run, Url) = (run, url);
        _http = new HttpClient { BaseAddress = new Uri(url), Timeout = TimeSpan.FromSeconds(20) };
    }

    public string Url { get; }

    /// <summary>Started, and the members behind it answer.</summary>
    public static Task<ProxyProcess> StartAsync(string endpoints, CancellationToken cancellation, params string[] more) =>
        StartAsync(StoreKind.Kapell, endpoints, cancellation, more);

    /// <summary>Of either program.</summary>
    public static async Task<ProxyProcess> StartAsync(StoreKind kind, string endpoints, CancellationToken cancellation, params string[] more)
    {
        (string program, string[] command) = kind == StoreKind.Upstream ? (Programs.Etcd!, Array.Empty<string>()) : (Programs.Kapell, ["etcd"]);
        for (int attempt = 1; ; attempt++)
        {
            string address = string.Create(CultureInfo.InvariantCulture, $"127.0.0.1:{FreePorts.Next()}");
            ProgramRun run = ProgramRun.Start(
                program, [.. command, "grpc-proxy", "start", "--endpoints", endpoints, "--listen-addr", address, "--advertise-client-url", "", .. more]);
            ProxyProcess proxy = new(run, "http://" + address);
            if (await proxy.IsHealthyAsync(kind == StoreKind.Upstream ? "/health" : "/proxy/health", cancellation))
            {
                return proxy;
            }

            bool again = run.Said.Contains("address already in use", StringComparison.Ordinal) && attempt < Attempts;
            string said = run.Said;
            proxy.Dispose();
            Assert.True(again, $"the proxy did not start: {said}");
        }
    }

    public Task<string> GetAsync(string path, CancellationToken cancellation) => _http.GetStringAsync(new Uri(path, UriKind.Relative), cancellation);

    public void Dispose()
    {
        _run.Dispose();
        _http.Dispose();
    }

    private async Task<bool> IsHealthyAsync(string path, CancellationToken cancellation)
    {
        using PeriodicTimer pace = new(TimeSpan.FromMilliseconds(20));
        using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        late.CancelAfter(TimeSpan.FromSeconds(60));
        while (!_run.HasExited && await pace.WaitForNextTickAsync(late.Token))
        {
            try
            {
                if ((await GetAsync(path, late.Token)).Contains("\"health\":\"true\"", StringComparison.Ordinal))
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
