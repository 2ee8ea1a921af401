using System.Text.Json;
using Kapell.Base;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Controllers.GarbageCollection;

/// <summary>
/// Watches the metadata of everything that can be deleted and keeps the graph of owners (pkg/controller/garbagecollector); the two
/// workers <see cref="DeleteWorker"/> and <see cref="OrphanWorker"/> act on what the graph asks for.
/// </summary>
internal sealed class GarbageCollector : IController
{
    private static readonly TimeSpan DiscoveryPeriod = TimeSpan.FromSeconds(30);
    private static readonly InformerOptions MetadataOnly = new() { MetadataOnly = true };
    private readonly KubeClient _client;
    private readonly InformerFactory _informers;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly int _workers;
    private readonly Lock _gate = new(); // around the graph
    private readonly OwnerGraph _graph = new();
    private readonly ResourceMap _resources = new();
    private readonly HashSet<GroupVersionResource> _monitored = [];
    private readonly WorkQueue<string> _delete;
    private readonly WorkQueue<string> _orphan;

    private GarbageCollector(ControllerContext context)
    {
        _client = context.ClientFor("generic-garbage-collector");
        _time = context.Time;
        _log = context.LogFor("garbage-collector");
        _workers = context.Options.ConcurrentGcSyncs;
        _informers = new InformerFactory(context.RootClientFor("metadata-informers"), _time, context.RandomFor(), context.Logs);
        _delete = context.UidQueue();
        _orphan = context.UidQueue();
    }

    public static IController Create(ControllerContext context) => new GarbageCollector(context);

    public async Task RunAsync(CancellationToken cancellation)
    {
        await DiscoverUntilAnsweredAsync(cancellation);
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        List<Task> tasks = [_informers.RunAsync(stop.Token), RediscoverAsync(stop.Token)];
        try
        {
            // Deciding before everything has been listed would mistake an owner not yet seen for one that is absent; the live check in the
            // worker would save us, at the price of one GET for every object.
            await _informers.WaitForSyncAsync(cancellation);
            DeleteWorker deleteWorker = new(_client, this, _resources);
            OrphanWorker orphanWorker = new(_client, this, _resources);
            tasks.Add(new ReconcilerHost<string>(deleteWorker, _delete, _log).RunAsync(_workers, stop.Token));
            tasks.Add(new ReconcilerHost<string>(orphanWorker, _orphan, _log).RunAsync(Math.Min(_workers, 5), stop.Token));
            await await Task.WhenAny(tasks);
        }
        finally
        {
            await stop.CancelAsync();
            await Task.WhenAll(tasks).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        }
    }

    public NodeState? Node(string uid)
    {
        lock (_gate)
        {
            return _graph.Get(uid);
        }
    }

    public IReadOnlyList<string> Blocking(string uid)
    {
        lock (_gate)
        {
            return _graph.Blocking(uid);
        }
    }

    /// <summary>A live check found that the object is not there: its dependents are to be looked at.</summary>
    public void NoteGone(string uid)
    {
        lock (_gate)
        {
            Enqueue(_graph.Gone(uid));
        }
    }

    public void EnqueueDelete(IEnumerable<string> uids)
    {
        foreach (string uid in uids)
        {
            _delete.Add(uid);
        }
    }

    private void Seen(KubeObject o)
    {
        lock (_gate)
        {
            Enqueue(_graph.Seen(o, _resources.OwnerKey));
        }
    }

    private void Enqueue(GraphWork work)
    {
        EnqueueDelete(work.Delete);
        foreach (string uid in work.Orphan)
        {
            _orphan.Add(uid);
        }
    }

    private async Task DiscoverUntilAnsweredAsync(CancellationToken cancellation)
    {
        while (!await TryDiscoverAsync(cancellation) || _monitored.Count == 0)
        {
            await Task.Delay(TimeSpan.FromSeconds(1), _time, cancellation);
        }
    }

    private async Task RediscoverAsync(CancellationToken cancellation)
    {
        while (true)
        {
            await Task.Delay(DiscoveryPeriod, _time, cancellation);
            await TryDiscoverAsync(cancellation);
        }
    }

    private async Task<bool> TryDiscoverAsync(CancellationToken cancellation)
    {
        try
        {
            Discovered discovered = await Discovery.PreferredAsync(_client, cancellation);
            IReadOnlyList<ApiResource> wanted = _resources.Take(discovered);
            foreach (ApiResource r in wanted)
            {
                Monitor(r);
            }

            // A group that did not answer is not a group that is gone: forget resources only on a whole answer.
            if (discovered.Failures.Count == 0)
            {
                Unmonitor([.. wanted.Select(r => r.Resource)]);
            }

            return true;
        }
        catch (Exception e) when (e is StatusException or HttpRequestException or IOException or TimeoutException or JsonException)
        {
            Log.Trouble(_log, "garbage-collector", "discovery failed, trying again: " + e.Message);
            return false;
        }
    }

    private void Monitor(ApiResource r)
    {
        if (_monitored.Add(r.Resource))
        {
            string apiVersion = r.Resource.ApiVersion;
            _informers.For(r.Resource, MetadataOnly).AddHandler(new InformerHandler
            {
                OnAdded = o => Seen(Named(o, apiVersion, r.Kind)), OnUpdated = (_, o) => Seen(Named(o, apiVersion, r.Kind)), OnDeleted = o => NoteGone(o.Uid),
            });
        }
    }

    private void Unmonitor(HashSet<GroupVersionResource> wanted)
    {
        foreach (GroupVersionResource gone in _monitored.Where(m => !wanted.Contains(m)).ToArray())
        {
            _monitored.Remove(gone);
            Informer informer = _informers.For(gone, MetadataOnly);
            _informers.Forget(gone, MetadataOnly);
            foreach (KubeObject o in informer.List())
            {
                NoteGone(o.Uid);
            }
        }
    }

    // PartialObjectMetadata says its own kind; the graph wants the object's.
    private static KubeObject Named(KubeObject o, string apiVersion, string kind)
    {
        if (o.Kind == kind && o.ApiVersion == apiVersion)
        {
            return o;
        }

        System.Text.Json.Nodes.JsonObject json = o.ToNode();
        json["apiVersion"] = apiVersion;
        json["kind"] = kind;
        return KubeObject.From(json);
    }
}
