using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Kapell.Client;

namespace Kapell.Bench.Kubernetes;

/// <summary>Patches ConfigMaps that many watch; the time of the patch travels in the object.</summary>
internal sealed class KubeWatchScenario(string target, BenchOptions options) : IScenario
{
    private readonly KubeObjects _kube = new(target, options);
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _watchers = [];

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

    public Task RunAsync(int client, long number, CancellationToken cancellation) =>
        _kube.PatchAsync(client, number, Stopwatch.GetTimestamp().ToString(CultureInfo.InvariantCulture), cancellation);

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
                    && long.TryParse(stamp.GetString(), NumberStyles.None, CultureInfo.InvariantCulture, out long start))
                {
                    Deliveries!.Record(start);
                }
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // The end of the run.
        }
    }
}
