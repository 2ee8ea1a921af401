using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.Storage;
using Kapell.ApiServer.WatchCache;
using Kapell.Etcd.Client;
using Kapell.Machinery;

namespace Kapell.ApiServer.Verbs;

/// <summary>
/// Lists with upstream's meaning of resourceVersion, resourceVersionMatch, limit and continue (upstream: etcd3/store.go GetList,
/// cacher/delegator.go). Whatever may come from the cache does.
/// </summary>
internal sealed class ListReader(EtcdStorage storage, StoreMirror mirror)
{
    private const int PageSize = 500;
    private static readonly TimeSpan FreshnessWait = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan FutureWait = TimeSpan.FromSeconds(3);

    private const string ContinueExpired =
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or " +
        "use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an " +
        "inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

    public async Task<(IReadOnlyList<StoredObject> Items, ListMeta Meta)> ListAsync(Selection selection, ListOptions options, CancellationToken cancel)
    {
        if (options.Continue.Length > 0)
        {
            if (options.Revision is not (null or 0))
            {
                throw new StatusException(Status.BadRequest("specifying resource version is not allowed when using continue"));
            }

            ContinueToken token = ContinueToken.Decode(options.Continue);
            return await FromStoreAsync(selection, options.Limit, token.StartKey, Math.Max(token.Revision, 0), isContinue: true, cancel);
        }

        if (options.Revision is null)
        {
            long now = await storage.CurrentRevisionAsync(cancel);
            return await mirror.WaitForAsync(now, FreshnessWait, cancel)
                ? FromCache(selection, options.Limit)
                : await FromStoreAsync(selection, options.Limit, "", 0, false, cancel);
        }

        long revision = options.Revision.Value;
        if (revision == 0)
        {
            // Any state will do, and upstream's cache does not cut such a list.
            return mirror.IsReady ? FromCache(selection, 0) : await FromStoreAsync(selection, options.Limit, "", 0, false, cancel);
        }

        bool exact = options.ResourceVersionMatch == "Exact" || (options.ResourceVersionMatch.Length == 0 && options.Limit > 0);
        if (exact)
        {
            return await FromStoreAsync(selection, options.Limit, "", revision, false, cancel);
        }

        await EnsureReachedAsync(revision, cancel);
        return FromCache(selection, options.Limit);
    }

    /// <exception cref="StatusException">504 when the store is not that far.</exception>
    public async Task EnsureReachedAsync(long revision, CancellationToken cancel)
    {
        if (await mirror.WaitForAsync(revision, FutureWait, cancel))
        {
            return;
        }

        // Writes outside our keys raise the store's revision without the cache seeing it.
        long current = await storage.CurrentRevisionAsync(cancel);
        if (current < revision || !mirror.IsReady)
        {
            throw TooLarge(revision, current);
        }
    }

    private (IReadOnlyList<StoredObject> Items, ListMeta Meta) FromCache(Selection selection, long limit)
    {
        ResourceDefinition definition = selection.Definition;
        CacheSnapshot snapshot = mirror.For(definition).Snapshot(mirror.Revision);
        List<StoredObject> items = [];
        string last = "";
        long seen = 0;
        if (selection.Name is { } name && (selection.Namespace.Length > 0 || !definition.Namespaced))
        {
            if (mirror.For(definition).Get(EtcdStorage.KeyOf(selection.Namespace, name)) is { } one && selection.Matches(one))
            {
                items.Add(one.ViewFor(definition));
            }

            return (items, new ListMeta(snapshot.Revision));
        }

        foreach (StoredObject item in ResourceCache.Range(snapshot.Items, selection.Namespace, ""))
        {
            seen++;
            if (!selection.Matches(item))
            {
                continue;
            }

            if (limit > 0 && items.Count == limit)
            {
                string next = new ContinueToken(snapshot.Revision, Relative(selection, last) + "\0").Encode();
                long total = selection.IsEverything ? CountOf(snapshot, selection) : 0;
                return (items, new ListMeta(snapshot.Revision, next, selection.IsEverything ? total - limit : null));
            }

            items.Add(item.ViewFor(definition));
            last = item.Key;
        }

        return (items, new ListMeta(snapshot.Revision));
    }

    private async Task<(IReadOnlyList<StoredObject> Items, ListMeta Meta)> FromStoreAsync(
        Selection selection, long limit, string startKey, long revision, bool isContinue, CancellationToken cancel)
    {
        ResourceDefinition definition = selection.Definition;
        string from = startKey.Length == 0 ? "" : Absolute(selection, startKey);
        List<StoredObject> items = [];
        bool pinned = revision > 0;
        try
        {
            while (true)
            {
                long page = limit > 0 && selection.IsEverything ? limit : PageSize;
                (List<StoredObject> read, bool more, long count, long at) =
                    await storage.RangeAsync(definition, selection.Namespace, from, page, revision, cancel);
                revision = at;
                for (int i = 0; i < read.Count; i++)
                {
                    if (selection.Matches(read[i]))
                    {
                        items.Add(read[i].ViewFor(definition));
                    }

                    if (limit > 0 && items.Count == limit)
                    {
                        bool rest = more || i + 1 < read.Count;
                        string next = rest ? new ContinueToken(revision, Relative(selection, read[i].Key) + "\0").Encode() : "";
                        return (items, new ListMeta(revision, next, rest && selection.IsEverything ? count - limit : null));
                    }
                }

                if (!more || read.Count == 0)
                {
                    return (items, new ListMeta(revision));
                }

                from = read[^1].Key + "\0";
            }
        }
        catch (EtcdException e) when (e.Kind == EtcdErrorKind.Compacted && isContinue)
        {
            string next = new ContinueToken(-1, startKey).Encode();
            throw new StatusException(Status.Expired(ContinueExpired) with { Continue = next });
        }
        catch (EtcdException e) when (e.Kind == EtcdErrorKind.FutureRevision && pinned)
        {
            throw TooLarge(revision, mirror.Revision);
        }
        catch (EtcdException e)
        {
            throw EtcdStorage.Translate(e);
        }
    }

    private static StatusException TooLarge(long revision, long current) => new(
        Status.Timeout($"Too large resource version: {revision}, current: {current}", 1) with
        {
            Causes = [new StatusCause("ResourceVersionTooLarge", "Too large resource version", "")],
        });

    private static long CountOf(CacheSnapshot snapshot, Selection selection)
    {
        if (selection.Namespace.Length == 0)
        {
            return snapshot.Items.Count;
        }

        return ResourceCache.Range(snapshot.Items, selection.Namespace, "").LongCount();
    }

    // Tokens are relative to the list's own prefix, keys to the resource's.
    private static string Relative(Selection selection, string key) =>
        selection.Namespace.Length == 0 ? key : key[(selection.Namespace.Length + 1)..];

    private static string Absolute(Selection selection, string key) =>
        selection.Namespace.Length == 0 ? key : selection.Namespace + "/" + key;
}
