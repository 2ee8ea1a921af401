namespace Kapell.Etcd.Client;

/// <summary>One pair as the store gave it. The memory belongs to the response and is never written again.</summary>
public readonly record struct EtcdEntry(
    ReadOnlyMemory<byte> Key, ReadOnlyMemory<byte> Value, long CreateRevision, long ModRevision, long Version, long Lease);

/// <summary>What to read: one key, or with <see cref="End"/> all keys from the key up to it (exclusive).</summary>
public sealed record EtcdRange(ReadOnlyMemory<byte> Key)
{
    public ReadOnlyMemory<byte> End { get; init; }

    public long Limit { get; init; }

    /// <summary>0 is the newest.</summary>
    public long Revision { get; init; }

    /// <summary>Answered by the member asked from its own state, maybe stale.</summary>
    public bool Serializable { get; init; }

    public bool KeysOnly { get; init; }

    public bool CountOnly { get; init; }

    /// <summary>All keys that start with <paramref name="prefix"/>.</summary>
    public static EtcdRange Prefix(ReadOnlyMemory<byte> prefix) => new(prefix) { End = EndOfPrefix(prefix.Span) };

    /// <summary>The first key after all keys with this prefix (clientv3.GetPrefixRangeEnd).</summary>
    public static byte[] EndOfPrefix(ReadOnlySpan<byte> prefix)
    {
        for (int i = prefix.Length - 1; i >= 0; i--)
        {
            if (prefix[i] < 0xff)
            {
                byte[] end = prefix[..(i + 1)].ToArray();
                end[i]++;
                return end;
            }
        }

        return [0];
    }
}

/// <summary>The answer to a range.</summary>
/// <param name="Count">How many keys there are in all, whatever the limit.</param>
/// <param name="Revision">The store's revision when it answered.</param>
public sealed record EtcdRangeResult(IReadOnlyList<EtcdEntry> Entries, bool More, long Count, long Revision);

/// <summary>What a compare looks at.</summary>
public enum EtcdCompareTarget
{
    Version,
    CreateRevision,
    ModRevision,
}

/// <summary>The condition "this property of this key equals this number"; a key that is absent has 0 everywhere.</summary>
public readonly record struct EtcdCompare(EtcdCompareTarget Target, ReadOnlyMemory<byte> Key, long Expected);

/// <summary>One operation of a transaction.</summary>
public abstract record EtcdOp;

/// <summary>Writes a pair.</summary>
public sealed record EtcdPut(ReadOnlyMemory<byte> Key, ReadOnlyMemory<byte> Value, long Lease = 0) : EtcdOp;

/// <summary>Reads.</summary>
public sealed record EtcdGet(EtcdRange Range) : EtcdOp;

/// <summary>Deletes one key.</summary>
public sealed record EtcdDelete(ReadOnlyMemory<byte> Key) : EtcdOp;

/// <summary>All compares hold: <see cref="Success"/> is done, otherwise <see cref="Failure"/>; atomically.</summary>
public sealed record EtcdTxn(IReadOnlyList<EtcdCompare> Compare, IReadOnlyList<EtcdOp> Success, IReadOnlyList<EtcdOp> Failure);

/// <summary>What a transaction did.</summary>
/// <param name="Reads">The results of the reads done, in order.</param>
public sealed record EtcdTxnResult(bool Succeeded, long Revision, IReadOnlyList<EtcdRangeResult> Reads);

/// <summary>One change in a watch.</summary>
public readonly record struct EtcdEvent(bool IsDelete, EtcdEntry Entry);

/// <summary>Changes that came together. Without events it is progress: all changes up to <paramref name="Revision"/> have been delivered.</summary>
public sealed record EtcdWatchBatch(IReadOnlyList<EtcdEvent> Events, long Revision)
{
    public bool IsProgress => Events.Count == 0;
}

/// <summary>What kind of failure the store or the way to it had.</summary>
public enum EtcdErrorKind
{
    /// <summary>No member could be reached, or none leads. Whether a write happened is unknown.</summary>
    Unavailable,
    Timeout,

    /// <summary>The revision asked for is compacted away; see <see cref="EtcdException.CompactRevision"/>.</summary>
    Compacted,
    FutureRevision,
    NoSpace,
    TooLarge,
    TooManyRequests,
    LeaseNotFound,
    NotAllowed,
    Other,
}

/// <summary>The store refused or could not be reached; the message is the store's.</summary>
public sealed class EtcdException(EtcdErrorKind kind, string message, Exception? inner = null) : Exception(message, inner)
{
    public EtcdErrorKind Kind { get; } = kind;

    /// <summary>For <see cref="EtcdErrorKind.Compacted"/> in a watch: the oldest revision there is; 0 when unknown.</summary>
    public long CompactRevision { get; init; }

    /// <summary>True when the request cannot have reached a server, so that even a write may be sent again.</summary>
    public bool NothingSent { get; init; }
}
