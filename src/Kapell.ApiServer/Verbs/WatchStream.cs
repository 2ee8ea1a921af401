using System.Buffers;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.Storage;
using Kapell.ApiServer.WatchCache;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Verbs;

/// <summary>Serves one watch: what there is (when asked), then every change, bookmarks in between (upstream: cacher/cache_watcher.go).</summary>
internal sealed class WatchStream(EtcdStorage storage, StoreMirror mirror, ListReader lists, TimeProvider time)
{
    private const int EventsMax = 256;
    private static readonly TimeSpan BookmarkEvery = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan FreshnessWait = TimeSpan.FromSeconds(3);

    public async Task ServeAsync(
        HttpContext context, Selection selection, ListOptions options, ItemWriter writer, TimeSpan lifetime, CancellationToken cancel)
    {
        ResourceCache cache = mirror.For(selection.Definition);
        (IReadOnlyList<StoredObject> initial, long cursor, long revision, bool announceEnd) opened;
        try
        {
            opened = await OpenAsync(cache, selection, options, cancel);
        }
        catch (StatusException e) when (e.IsGone)
        {
            // Past the checks of the request a watch fails within the stream (upstream: cacher.go Watch, newErrWatcher).
            await BeginAsync(context, cancel);
            SendRaw(context.Response.BodyWriter, "ERROR", JsonBytes.Of(e.Status.ToJson()));
            await context.Response.BodyWriter.FlushAsync(cancel);
            return;
        }

        (IReadOnlyList<StoredObject> initial, long cursor, long revision, bool announceEnd) = opened;
        await BeginAsync(context, cancel);
        IBufferWriter<byte> body = context.Response.BodyWriter;
        bool first = true;
        foreach (StoredObject item in initial)
        {
            Send(body, writer, "ADDED", item, ref first);
            if (context.Response.BodyWriter.UnflushedBytes > 64 * 1024)
            {
                await context.Response.BodyWriter.FlushAsync(cancel);
            }
        }

        if (announceEnd && options.AllowWatchBookmarks)
        {
            SendRaw(body, "BOOKMARK", writer.Bookmark(revision, initialEventsEnd: true));
        }

        await context.Response.BodyWriter.FlushAsync(cancel);
        await FollowAsync(context, cache, cursor, revision, selection, options, writer, lifetime, first, cancel);
    }

    private static Task BeginAsync(HttpContext context, CancellationToken cancel)
    {
        context.Response.StatusCode = 200;
        context.Response.ContentType = "application/json";
        return context.Response.StartAsync(cancel);
    }

    private async Task FollowAsync(
        HttpContext context, ResourceCache cache, long cursor, long revision, Selection selection, ListOptions options, ItemWriter writer,
        TimeSpan lifetime, bool first, CancellationToken cancel)
    {
        IBufferWriter<byte> body = context.Response.BodyWriter;
        long started = time.GetTimestamp();
        long lastBookmark = started;
        List<CacheEvent> batch = [];
        while (true)
        {
            batch.Clear();
            // Read before the events are: all of them up to here are then in the ring.
            long progress = mirror.Revision;
            if (!cache.TryRead(ref cursor, batch, EventsMax, out Task changed))
            {
                // Fell behind, or everything was read anew: the client lists again.
                SendRaw(body, "ERROR", JsonBytes.Of(Status.Expired("too old resource version: " + revision + " (" + progress + ")").ToJson()));
                await context.Response.BodyWriter.FlushAsync(cancel);
                return;
            }

            foreach (CacheEvent e in batch)
            {
                revision = Math.Max(revision, e.Revision);
                Deliver(body, writer, selection, e, ref first);
            }

            if (batch.Count > 0)
            {
                await context.Response.BodyWriter.FlushAsync(cancel);
                continue;
            }

            revision = Math.Max(revision, progress);
            TimeSpan left = lifetime - time.GetElapsedTime(started);
            TimeSpan toBookmark = options.AllowWatchBookmarks ? BookmarkEvery - time.GetElapsedTime(lastBookmark) : left;
            bool ending = left <= TimeSpan.Zero;
            if (options.AllowWatchBookmarks && (toBookmark <= TimeSpan.Zero || ending))
            {
                SendRaw(body, "BOOKMARK", writer.Bookmark(revision, initialEventsEnd: false));
                lastBookmark = time.GetTimestamp();
                await context.Response.BodyWriter.FlushAsync(cancel);
                toBookmark = BookmarkEvery;
            }

            if (ending)
            {
                return;
            }

            await WaitAsync(changed, toBookmark < left ? toBookmark : left, cancel);
        }
    }

    private async Task<(IReadOnlyList<StoredObject> Initial, long Cursor, long Revision, bool AnnounceEnd)> OpenAsync(
        ResourceCache cache, Selection selection, ListOptions options, CancellationToken cancel)
    {
        long? asked = options.Revision;
        bool withState = options.SendInitialEvents ?? asked is null or 0;
        if (asked is null || (options.SendInitialEvents is not null && asked is null))
        {
            long current = await storage.CurrentRevisionAsync(cancel);
            await mirror.WaitForAsync(current, FreshnessWait, cancel);
        }
        else if (withState && asked > 0)
        {
            await lists.EnsureReachedAsync(asked.Value, cancel);
        }

        if (!mirror.IsReady)
        {
            throw new StatusException(Status.TooManyRequests("storage is (re)initializing", 1));
        }

        if (!withState)
        {
            if (asked is null or 0)
            {
                (CacheSnapshot now, long at) = cache.SnapshotWithCursor(mirror.Revision);
                return ([], at, now.Revision, false);
            }

            return ([], cache.CursorAfter(asked.Value), asked.Value, false);
        }

        (CacheSnapshot snapshot, long cursor) = cache.SnapshotWithCursor(mirror.Revision);
        List<StoredObject> initial = [];
        foreach (StoredObject item in ResourceCache.Range(snapshot.Items, selection.Namespace, ""))
        {
            if (selection.Matches(item))
            {
                initial.Add(item.ViewFor(selection.Definition));
            }
        }

        return (initial, cursor, snapshot.Revision, options.SendInitialEvents == true);
    }

    /// <summary>What the change is for this watcher: an object may come into or go out of what it selects.</summary>
    private static void Deliver(IBufferWriter<byte> body, ItemWriter writer, Selection selection, CacheEvent e, ref bool first)
    {
        ResourceDefinition definition = selection.Definition;
        bool now = e.Type != ObjectEventType.Deleted && selection.Matches(e.Object);
        bool before = e.Previous is not null && selection.Matches(e.Previous);
        if (now)
        {
            Send(body, writer, before ? "MODIFIED" : "ADDED", e.Object.ViewFor(definition), ref first);
        }
        else if (before)
        {
            StoredObject gone = e.Type == ObjectEventType.Deleted ? e.Object : e.Previous!.At(e.Revision);
            Send(body, writer, "DELETED", gone.ViewFor(definition), ref first);
        }
    }

    private static void Send(IBufferWriter<byte> body, ItemWriter writer, string type, StoredObject item, ref bool first)
    {
        Head(body, type);
        // A Table's columns go out once (upstream: watch of Tables).
        writer.One(body, item, withColumns: first);
        body.Write("}\n"u8);
        first = false;
    }

    private static void SendRaw(IBufferWriter<byte> body, string type, byte[] json)
    {
        Head(body, type);
        body.Write(json);
        body.Write("}\n"u8);
    }

    private static void Head(IBufferWriter<byte> body, string type)
    {
        body.Write("{\"type\":\""u8);
        body.Write(System.Text.Encoding.ASCII.GetBytes(type));
        body.Write("\",\"object\":"u8);
    }

    private async Task WaitAsync(Task changed, TimeSpan atMost, CancellationToken cancel)
    {
        using CancellationTokenSource done = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task timer = Task.Delay(atMost, time, done.Token);
        await Task.WhenAny(changed, timer);
        await done.CancelAsync();
        cancel.ThrowIfCancellationRequested();
    }
}
