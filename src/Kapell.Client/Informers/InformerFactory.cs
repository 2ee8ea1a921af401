using Kapell.Base;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Client.Informers;

/// <summary>
/// One informer for each resource and selection, shared by all who ask. Ask, add handlers and indexes, then <see cref="RunAsync"/>;
/// informers asked for later are started at once.
/// </summary>
public sealed class InformerFactory(KubeClient client, TimeProvider time, Prng random, ILoggerFactory logs)
{
    private readonly Lock _gate = new(); // around the fields below
    private readonly Dictionary<(GroupVersionResource, InformerOptions), Entry> _informers = [];
    private readonly ILogger _log = logs.CreateLogger("Kapell.Client.Informers");
    private CancellationTokenSource? _running;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Informer For(GroupVersionResource resource) => For(resource, InformerOptions.Everything);

    public Informer For(GroupVersionResource resource, InformerOptions options)
    {
        lock (_gate)
        {
            if (!_informers.TryGetValue((resource, options), out Entry? entry))
            {
                entry = new Entry(new Informer(client, resource, options, time, random.Split(), _log));
                _informers.Add((resource, options), entry);
                if (_running is not null)
                {
                    Start(entry, _running.Token);
                    _changed.TrySetResult();
                }
            }

            return entry.Informer;
        }
    }

    /// <summary>Stops and forgets an informer, as when its resource is no longer served.</summary>
    public void Forget(GroupVersionResource resource, InformerOptions options)
    {
        lock (_gate)
        {
            if (_informers.Remove((resource, options), out Entry? entry))
            {
                entry.Stop?.Cancel();
            }
        }
    }

    /// <summary>Runs all informers until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        lock (_gate)
        {
            Check.That(_running is null);
            _running = stop;
            foreach (Entry entry in _informers.Values)
            {
                Start(entry, stop.Token);
            }
        }

        try
        {
            await WatchTasksAsync(cancellation);
        }
        finally
        {
            await stop.CancelAsync();
            await Task.WhenAll(Tasks());
            lock (_gate)
            {
                _running = null;
            }
        }
    }

    public async Task WaitForSyncAsync(CancellationToken cancellation)
    {
        Informer[] all;
        lock (_gate)
        {
            all = [.. _informers.Values.Select(e => e.Informer)];
        }

        foreach (Informer informer in all)
        {
            await informer.WaitForSyncAsync(cancellation);
        }
    }

    // A failed informer fails the whole factory: its owner must not work on a cache that stands still.
    private async Task WatchTasksAsync(CancellationToken cancellation)
    {
        while (!cancellation.IsCancellationRequested)
        {
            Task changed;
            Task[] tasks;
            lock (_gate)
            {
                _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                changed = _changed.Task;
                tasks = [.. _informers.Values.Select(e => e.Task).OfType<Task>().Where(t => !t.IsCompletedSuccessfully)];
            }

            try
            {
                await Task.WhenAny([changed, .. tasks]).WaitAsync(cancellation);
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
                return;
            }

            foreach (Task failed in tasks.Where(t => t.IsFaulted))
            {
                await failed;
            }
        }
    }

    private Task[] Tasks()
    {
        lock (_gate)
        {
            return [.. _informers.Values.Select(e => e.Task).OfType<Task>()];
        }
    }

    private static void Start(Entry entry, CancellationToken running)
    {
        entry.Stop = CancellationTokenSource.CreateLinkedTokenSource(running);
        CancellationToken token = entry.Stop.Token;
        entry.Task = Task.Run(() => entry.Informer.RunAsync(token), CancellationToken.None);
    }

    private sealed class Entry(Informer informer)
    {
        public Informer Informer { get; } = informer;

        public CancellationTokenSource? Stop { get; set; }

        public Task? Task { get; set; }
    }
}
