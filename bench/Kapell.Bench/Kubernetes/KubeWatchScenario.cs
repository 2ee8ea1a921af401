using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Kapell.Client;
using Kapell.Machinery;

namespace Kapell.Bench.Kubernetes;

/// <summary>
/// Patches ConfigMaps that many watch; the time of the patch and its client travel in the object. As with the store's watches, an operation is
/// over when every watcher has its event, or a faster server would owe more.
/// </summary>
internal sealed class KubeWatchScenario(string target, BenchOptions options) : IScenario
{
    private readonly KubeObjects _kube = new(target, options);
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _watchers = [];
    private readonly AwaitedEvents _awaited = new(options.Clients.Value, options.Watchers.Value);

    public LatencyRecorder? Deliveries { get; } = new();

    public async Task PrepareAsync(CancellationToken cancellation)
    {
        await _kube.FillAsync(options.Keys.Value, cancellation);
        KubeList list = await _kube.For(0).ListPageAsync(
            Resources.ConfigMaps, _kube.Namespace, new ListOptions { Limit = 1 }, cancellation);
        for (int i = 0; i < options.Watchers.Value; i++)
        {
            int client = i;
            _watchers.Add(Task.Run(() => WatchAsync(client, list.ResourceVersion), CancellationToken.None));
        }
    }

    public async Task RunAsync(int client, long number, CancellationToken cancellation)
    {
        Task delivered = _awaited.Begin(client);
        string stamp = string.Create(CultureInfo.InvariantCulture, $"{Stopwatch.GetTimestamp()} {client}");
        await _kube.PatchAsync(client, number, stamp, cancellation);
        await delivered.WaitAsync(cancellation);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_watchers);
        _stop.Dispose();
        await _kube.DisposeAsync();
    }

    private async Task WatchAsync(int client, string resourceVersion)
    {
        ListOptions from = new() { ResourceVersion = resourceVersion };
        try
        {
            await foreach (WatchEvent e in _kube.For(client).WatchAsync(Resources.ConfigMaps, _kube.Namespace, from, _stop.Token))
            {
                if (e.Object.Root.TryGetProperty("data", out JsonElement data)
                    && data.TryGetProperty("stamp", out JsonElement stamp)
                    && stamp.GetString()?.Split(' ') is [string at, string by])
                {
                    Deliveries!.Record(long.Parse(at, CultureInfo.InvariantCulture));
                    _awaited.Delivered(int.Parse(by, CultureInfo.InvariantCulture));
                }
            }

            _awaited.Failed(new HttpRequestException("the server ended a watch"));
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // The end of the run.
        }
        catch (Exception e) when (e is HttpRequestException or IOException or StatusException)
        {
            _awaited.Failed(e is StatusException ? e : new HttpRequestException(e.Message, e));
        }
    }
}
