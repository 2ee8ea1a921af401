using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Etcd.Client;
using Kapell.Machinery;

namespace Kapell.ApiServer.Storage;

/// <summary>
/// Objects over the store: keys <c>/registry/STORAGEKEY/NAMESPACE/NAME</c>, values the JSON without its resourceVersion, which is
/// the key's mod revision (upstream: storage/etcd3/store.go). Below it is only <see cref="IEtcdClient"/>.
/// </summary>
internal sealed class EtcdStorage(IEtcdClient etcd, string prefix, LeaseManager leases, TimeSpan? eventTtl, StorageMetrics metrics)
{
    private readonly string _prefix = "/" + prefix.Trim('/') + "/";

    /// <summary>All of this server's keys.</summary>
    public string Prefix => _prefix;

    public IEtcdClient Etcd => etcd;

    public static string KeyOf(string ns, string name) => ns.Length == 0 ? name : ns + "/" + name;

    public string PrefixOf(ResourceDefinition definition) => _prefix + definition.StorageKey + "/";

    public async Task<StoredObject?> GetAsync(ResourceDefinition definition, string ns, string name, CancellationToken cancel)
    {
        string key = KeyOf(ns, name);
        EtcdRangeResult result = await ReadAsync(definition, new EtcdRange(Bytes(PrefixOf(definition) + key)), "get", cancel);
        return result.Entries.Count == 0 ? null : Read(key, result.Entries[0]);
    }

    /// <exception cref="StatusException">409 when the name is taken.</exception>
    public async Task<StoredObject> CreateAsync(ResourceDefinition definition, string ns, string name, JsonObject obj, CancellationToken cancel)
    {
        string key = KeyOf(ns, name);
        byte[] fullKey = Bytes(PrefixOf(definition) + key);
        byte[] value = Encode(definition, obj);
        EtcdTxnResult result = await PutAsync(definition, fullKey, value, 0, [], "create", cancel);
        return result.Succeeded
            ? StoredObject.Read(key, value, result.Revision)
            : throw new StatusException(Status.AlreadyExists(definition.GroupResource, name));
    }

    /// <summary>
    /// Writes <paramref name="obj"/> if the key is still at <paramref name="expected"/> (0: absent). Otherwise gives the state found
    /// instead.
    /// </summary>
    public async Task<(StoredObject? Written, StoredObject? Found)> ReplaceAsync(
        ResourceDefinition definition, string ns, string name, JsonObject obj, long expected, CancellationToken cancel)
    {
        string key = KeyOf(ns, name);
        byte[] fullKey = Bytes(PrefixOf(definition) + key);
        byte[] value = Encode(definition, obj);
        EtcdTxnResult result = await PutAsync(definition, fullKey, value, expected, [new EtcdGet(new EtcdRange(fullKey))], "update", cancel);
        return result.Succeeded
            ? (StoredObject.Read(key, value, result.Revision), null)
            : (null, result.Reads[0].Entries.Count == 0 ? null : Read(key, result.Reads[0].Entries[0]));
    }

    /// <summary>Removes the key if it is still at <paramref name="expected"/>; the revision of that, or the state found instead.</summary>
    public async Task<(long Revision, StoredObject? Found)> RemoveAsync(
        ResourceDefinition definition, string ns, string name, long expected, CancellationToken cancel)
    {
        string key = KeyOf(ns, name);
        byte[] fullKey = Bytes(PrefixOf(definition) + key);
        EtcdTxn txn = new(
            [new EtcdCompare(EtcdCompareTarget.ModRevision, fullKey, expected)], [new EtcdDelete(fullKey)], [new EtcdGet(new EtcdRange(fullKey))]);
        EtcdTxnResult result = await WriteAsync(definition, txn, "delete", cancel);
        return result.Succeeded
            ? (result.Revision, null)
            : (0, result.Reads[0].Entries.Count == 0 ? null : Read(key, result.Reads[0].Entries[0]));
    }

    /// <summary>Some of a list, in key order, from <paramref name="startKey"/> (below the resource's prefix) on.</summary>
    /// <exception cref="EtcdException">Compacted when the revision is gone.</exception>
    public async Task<(List<StoredObject> Items, bool More, long Count, long Revision)> RangeAsync(
        ResourceDefinition definition, string ns, string startKey, long limit, long revision, CancellationToken cancel)
    {
        string listPrefix = PrefixOf(definition) + (ns.Length == 0 ? "" : ns + "/");
        EtcdRange range = new(Bytes(startKey.Length == 0 ? listPrefix : PrefixOf(definition) + startKey))
        {
            End = EtcdRange.EndOfPrefix(Encoding.UTF8.GetBytes(listPrefix)), Limit = limit, Revision = revision,
        };
        long began = metrics.Start();
        EtcdRangeResult result = await etcd.RangeAsync(range, cancel);
        metrics.Done(began, "list", definition.GroupResource);
        int skip = PrefixOf(definition).Length;
        List<StoredObject> items = new(result.Entries.Count);
        foreach (EtcdEntry entry in result.Entries)
        {
            items.Add(Read(Encoding.UTF8.GetString(entry.Key.Span)[skip..], entry));
        }

        return (items, result.More, result.Count, revision > 0 ? revision : result.Revision);
    }

    /// <summary>The store's newest revision, linearizable.</summary>
    public async Task<long> CurrentRevisionAsync(CancellationToken cancel)
    {
        try
        {
            return (await etcd.RangeAsync(new EtcdRange(Bytes(_prefix + "health")) { CountOnly = true }, cancel)).Revision;
        }
        catch (EtcdException e)
        {
            throw Translate(e);
        }
    }

    /// <summary>A failure of the store in the API's words.</summary>
    public static StatusException Translate(EtcdException e) => new(e.Kind switch
    {
        EtcdErrorKind.Compacted => Status.Expired("The resourceVersion for the provided list is too old."),
        EtcdErrorKind.TooLarge => Status.TooLarge("Request entity too large: limit is 1572864"),
        EtcdErrorKind.TooManyRequests => Status.TooManyRequests("etcdserver: too many requests", 1),
        EtcdErrorKind.Timeout => Status.Timeout("request did not complete within the allotted timeout", 0),
        EtcdErrorKind.Unavailable => Status.InternalError("etcdserver: " + (e.Message.Length == 0 ? "unavailable" : e.Message)),
        _ => Status.InternalError(e.Message),
    });

    private static byte[] Bytes(string key) => Encoding.UTF8.GetBytes(key);

    private static StoredObject Read(string key, EtcdEntry entry)
    {
        try
        {
            return StoredObject.Read(key, entry.Value.Span, entry.ModRevision);
        }
        catch (JsonException e)
        {
            throw new StatusException(Status.InternalError($"unable to decode the stored object \"{key}\": {e.Message}"));
        }
    }

    private static byte[] Encode(ResourceDefinition definition, JsonObject obj)
    {
        JsonObject stored = obj;
        if (definition.ToStorage is { } convert)
        {
            stored = obj.DeepClone().AsObject();
            convert(stored);
        }

        if (stored["metadata"] is not JsonObject metadata)
        {
            throw new StatusException(Status.InternalError("an object without metadata cannot be stored"));
        }

        JsonNode? version = metadata["resourceVersion"];
        metadata.Remove("resourceVersion");
        byte[] value = JsonBytes.Of(stored);
        if (version is not null && ReferenceEquals(stored, obj))
        {
            metadata["resourceVersion"] = version;
        }

        return value;
    }

    private async Task<EtcdTxnResult> PutAsync(
        ResourceDefinition definition, byte[] key, byte[] value, long expected, IReadOnlyList<EtcdOp> otherwise, string operation, CancellationToken cancel)
    {
        for (int attempt = 0; ; attempt++)
        {
            long lease = 0;
            try
            {
                TimeSpan? life = definition.StorageKey == "events" ? eventTtl : definition.TimeToLive;
                lease = life is { } time && time > TimeSpan.Zero ? await leases.GetAsync(time, cancel) : 0;
            }
            catch (EtcdException e)
            {
                throw Translate(e);
            }

            EtcdTxn txn = new([new EtcdCompare(EtcdCompareTarget.ModRevision, key, expected)], [new EtcdPut(key, value, lease)], otherwise);
            try
            {
                return await WriteAsync(definition, txn, operation, cancel);
            }
            catch (StatusException e) when (lease != 0 && attempt == 0 && e.Message.Contains("lease not found", StringComparison.Ordinal))
            {
                // The store lost it (restored from a backup): one fresh lease, then give up.
                await leases.ForgetAsync(lease, cancel);
            }
        }
    }

    private async Task<EtcdTxnResult> WriteAsync(ResourceDefinition definition, EtcdTxn txn, string operation, CancellationToken cancel)
    {
        long began = metrics.Start();
        try
        {
            return await etcd.TxnAsync(txn, cancel);
        }
        catch (EtcdException e)
        {
            throw Translate(e);
        }
        finally
        {
            metrics.Done(began, operation, definition.GroupResource);
        }
    }

    private async Task<EtcdRangeResult> ReadAsync(ResourceDefinition definition, EtcdRange range, string operation, CancellationToken cancel)
    {
        long began = metrics.Start();
        try
        {
            return await etcd.RangeAsync(range, cancel);
        }
        catch (EtcdException e)
        {
            throw Translate(e);
        }
        finally
        {
            metrics.Done(began, operation, definition.GroupResource);
        }
    }
}
