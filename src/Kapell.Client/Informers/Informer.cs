using System.Text.Json;
using System.Threading.Channels;
using Kapell.Base;
using Kapell.Client.Queues;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Client.Informers;

/// <summary>
/// Keeps a local copy of one resource and tells handlers of its changes (client-go: reflector.go, shared_informer.go).
/// </summary>
/// <remarks>
/// Promised: the cache is eventually what the server holds; for each object, handlers see its states in order and never the same
/// resourceVersion twice; a handler sees the cache at least as new as the event it is told of; <see cref="HasSynced"/> turns true once
/// the first list is in the cache and every handler present then has seen all of it, and never turns back.
/// Not promised: that every intermediate state is seen, or that caches of two informers agree with each other at any time.
/// An exception of a handler is logged and the next handler is called: one broken consumer does not stop the others.
/// </remarks>
public sealed class Informer
{
    private const int PendingMax = 1024;
    private const int WatchSecondsMin = 300;
    private readonly KubeClient _client;
    private readonly GroupVersionResource _resource;
    private readonly InformerOptions _options;
    private readonly TimeProvider _time;
    private readonly Prng _random;
    private readonly ILogger _log;
    private readonly Channel<Change> _changes = Channel.CreateBounded<Change>(new BoundedChannelOptions(PendingMax) { SingleReader = true });
    private readonly Channel<InformerHandler> _newHandlers = Channel.CreateUnbounded<InformerHandler>();
    private readonly List<InformerHandler> _handlers = []; // the loop's own
    private readonly TaskCompletionSource _synced = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Informer(KubeClient client, GroupVersionResource resource, InformerOptions options, TimeProvider time, Prng random, ILogger log)
    {
        _client = client;
        _resource = resource;
        _options = options;
        _time = time;
        _random = random;
        _log = log;
    }

    /// <summary>The lister: reads of the cache.</summary>
    public ObjectStore Store { get; } = new();

    public GroupVersionResource Resource => _resource;

    public bool HasSynced => _synced.Task.IsCompleted;

    /// <summary>The newest resourceVersion seen, bookmarks included; empty before the first list.</summary>
    public string LastResourceVersion { get; private set; } = "";

    public KubeObject? Get(ObjectKey key) => Store.Get(key);

    public IReadOnlyList<KubeObject> List() => Store.List();

    public Task WaitForSyncAsync(CancellationToken cancellation) => _synced.Task.WaitAsync(cancellation);

    /// <summary>May be called at any time; a late handler is first told of all that is in the cache.</summary>
    public void AddHandler(InformerHandler handler)
    {
        _newHandlers.Writer.TryWrite(handler);
        // Wakes the loop when it waits; when the channel is full it is awake anyway and looks for new handlers after each change.
        _changes.Writer.TryWrite(Change.Wake);
    }

    public void AddIndex(string name, Func<KubeObject, IEnumerable<string>> values) => Store.AddIndex(name, values);

    /// <summary>Runs until cancelled; lists, watches, and calls handlers. Once per informer.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task reflect = ReflectAsync(either.Token);
        Task dispatch = DispatchAsync(either.Token);
        // Whichever ends first ends the other: an informer that only reads or only tells is of no use.
        await Task.WhenAny(reflect, dispatch);
        await either.CancelAsync();
        try
        {
            await Task.WhenAll(reflect, dispatch);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
        }
    }

    private async Task ReflectAsync(CancellationToken cancellation)
    {
        // client-go: 800 ms to 30 s; we start lower so that a control plane that starts together is up at once.
        Backoff backoff = new(TimeSpan.FromMilliseconds(100), 2, TimeSpan.FromSeconds(30), 1.0, _random);
        bool expired = false;
        bool listed = false;
        while (!cancellation.IsCancellationRequested)
        {
            try
            {
                if (!listed)
                {
                    await ListAsync(expired, cancellation);
                    listed = true;
                    expired = false;
                }

                long started = _time.GetTimestamp();
                await WatchAsync(cancellation);
                if (_time.GetElapsedTime(started) >= TimeSpan.FromSeconds(1))
                {
                    backoff.Reset();
                    continue;
                }

                // A stream that ends at once is a server that is going away: do not spin.
                await Task.Delay(backoff.Next(), _time, cancellation);
            }
            catch (StatusException e) when (e.IsGone || e.Status.Reason is "Expired" or "Gone")
            {
                Log.ReflectorExpired(_log, _resource.ToString(), LastResourceVersion);
                listed = false;
                expired = true;
                await Task.Delay(backoff.Next(), _time, cancellation);
            }
            catch (Exception e) when (e is StatusException or HttpRequestException or IOException or JsonException or TimeoutException)
            {
                // A server that answers "too large resource version" has restarted behind us: list what it has (client-go: isTooLargeResourceVersionError).
                listed &= e is not StatusException { Code: >= 400 and < 500 and not 429 };
                expired |= e is StatusException { Status.Reason: "Timeout" };
                TimeSpan wait = backoff.Next();
                Log.ReflectorFailed(_log, _resource.ToString(), wait.TotalMilliseconds, e.Message);
                await Task.Delay(wait, _time, cancellation);
            }
        }

        cancellation.ThrowIfCancellationRequested();
    }

    private async Task ListAsync(bool expired, CancellationToken cancellation)
    {
        // rv=0: any version the server has in memory will do at first; after "expired" only the newest is certain to be newer than what we hold.
        ListOptions options = Selection() with { ResourceVersion = expired ? "" : LastResourceVersion.Length > 0 ? LastResourceVersion : "0", Limit = expired ? 500 : 0 };
        KubeList list = await _client.ListAsync(_resource, _options.Namespace, options, cancellation);
        await _changes.Writer.WriteAsync(new Change(ChangeKind.Replace, null, list.Items), cancellation);
        LastResourceVersion = list.ResourceVersion;
    }

    private async Task WatchAsync(CancellationToken cancellation)
    {
        // Between 5 and 10 minutes, so that watches of many clients do not end together (client-go: minWatchTimeout).
        ListOptions options = Selection() with
        {
            ResourceVersion = LastResourceVersion, Bookmarks = true, Timeout = TimeSpan.FromSeconds(_random.NextInt(WatchSecondsMin, 2 * WatchSecondsMin)),
        };
        await foreach (WatchEvent e in _client.WatchAsync(_resource, _options.Namespace, options, cancellation))
        {
            if (e.Type != WatchEventType.Bookmark)
            {
                await _changes.Writer.WriteAsync(new Change(e.Type == WatchEventType.Deleted ? ChangeKind.Remove : ChangeKind.Put, e.Object, []), cancellation);
            }

            LastResourceVersion = e.Object.ResourceVersion;
        }
    }

    private ListOptions Selection() => new()
    {
        LabelSelector = _options.LabelSelector, FieldSelector = _options.FieldSelector, MetadataOnly = _options.MetadataOnly,
    };

    private async Task DispatchAsync(CancellationToken cancellation)
    {
        await foreach (Change change in _changes.Reader.ReadAllAsync(cancellation))
        {
            AcceptHandlers();
            switch (change.Kind)
            {
                case ChangeKind.Put:
                    Put(change.Object!);
                    break;
                case ChangeKind.Remove:
                    Remove(change.Object!);
                    break;
                case ChangeKind.Replace:
                    Replace(change.Items);
                    _synced.TrySetResult();
                    break;
                case ChangeKind.Wake:
                    break;
            }
        }
    }

    private void AcceptHandlers()
    {
        while (_newHandlers.Reader.TryRead(out InformerHandler? handler))
        {
            _handlers.Add(handler);
            foreach (KubeObject o in Store.List())
            {
                Tell(handler, o, h => h.OnAdded?.Invoke(o));
            }
        }
    }

    private void Put(KubeObject now)
    {
        KubeObject? old = Store.Put(now);
        if (old is not null && old.Uid != now.Uid)
        {
            // Deleted and created again inside a gap: two objects, so two events.
            TellAll(old, h => h.OnDeleted?.Invoke(old));
            old = null;
        }

        if (old is null)
        {
            TellAll(now, h => h.OnAdded?.Invoke(now));
        }
        else if (old.ResourceVersion != now.ResourceVersion)
        {
            TellAll(now, h => h.OnUpdated?.Invoke(old, now));
        }
    }

    private void Remove(KubeObject last)
    {
        Store.Remove(last.Key);
        TellAll(last, h => h.OnDeleted?.Invoke(last));
    }

    private void Replace(IReadOnlyList<KubeObject> items)
    {
        HashSet<ObjectKey> present = [.. items.Select(i => i.Key)];
        foreach (KubeObject gone in Store.List().Where(o => !present.Contains(o.Key)))
        {
            Remove(gone);
        }

        foreach (KubeObject item in items)
        {
            Put(item);
        }
    }

    private void TellAll(KubeObject about, Action<InformerHandler> tell)
    {
        foreach (InformerHandler handler in _handlers)
        {
            Tell(handler, about, tell);
        }
    }

    private void Tell(InformerHandler handler, KubeObject about, Action<InformerHandler> tell)
    {
        try
        {
            tell(handler);
        }
        catch (Exception e) when (e is not InvariantBrokenException)
        {
            Log.HandlerFailed(_log, e, _resource.ToString(), about.Key.ToString());
        }
    }

    private enum ChangeKind
    {
        Put,
        Remove,
        Replace,
        Wake,
    }

    private readonly record struct Change(ChangeKind Kind, KubeObject? Object, IReadOnlyList<KubeObject> Items)
    {
        public static readonly Change Wake = new(ChangeKind.Wake, null, []);
    }
}
