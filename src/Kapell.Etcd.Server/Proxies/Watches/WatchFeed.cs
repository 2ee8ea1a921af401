using Google.Protobuf;
using Google.Protobuf.Collections;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Proxies.Watches;

/// <summary>What two watches must have in common so that one will do for both.</summary>
/// <param name="Filters">Names of those that are asked for.</param>
internal readonly record struct WatchedRange(ByteString Key, ByteString End, bool PreviousValues, bool Fragments, string Filters);

/// <summary>One watch at a member, and the watches of clients that live on it.</summary>
/// <param name="id">At the member.</param>
/// <param name="startRevision">As the client asked; zero: from now on.</param>
internal sealed class WatchFeed(long id, WatchedRange range, long startRevision)
{
    private bool _isWithinRevision;
    private long _begunAt; // The store's revision when the member began it; zero: it has not.

    public long Id => id;

    public WatchedRange Range => range;

    public List<WatchReceiver> Receivers { get; } = [];

    /// <summary>Every event of the range from this revision on comes yet, and none from before.</summary>
    public long Next { get; private set; }

    /// <summary>The member is told to end it: nobody is to join it.</summary>
    public bool IsEnding { get; set; }

    /// <summary>It has sent all that had happened when it began: what comes next comes when it happens.</summary>
    private bool IsOfThePresent => _begunAt > 0 && (startRevision == 0 || Next > _begunAt);

    public void Begin(long revision)
    {
        _begunAt = Math.Max(1, revision);
        Next = startRevision > 0 ? startRevision : revision + 1;
    }

    /// <param name="revision">Of the last event that came.</param>
    /// <param name="isWithin">More events of that revision follow.</param>
    public void Delivered(long revision, bool isWithin)
    {
        _isWithinRevision = isWithin;
        Next = Math.Max(Next, isWithin ? revision : revision + 1);
    }

    /// <summary>Whether all events that are to come here come there too, and as soon.</summary>
    public bool MayJoin(WatchFeed other) =>
        _begunAt > 0 && !IsEnding && !other.IsEnding && other.IsOfThePresent && !_isWithinRevision && !other._isWithinRevision && other.Next <= Next;
}

/// <summary>A watch of a client.</summary>
/// <param name="feed">What it lives on at first.</param>
internal sealed class WatchReceiver(WatchBranch branch, WatchFeed feed)
{
    public WatchBranch Branch => branch;

    /// <summary>As the client knows it; null until it is begun, unless the client has chosen it.</summary>
    public long? Id { get; set; }

    /// <exception cref="InvalidOperationException">It is not begun.</exception>
    public long Number => Id ?? throw new InvalidOperationException("a watch was told something before it was begun");

    public WatchFeed Feed { get; set; } = feed;

    public bool NotifiesProgress { get; init; }

    /// <summary>It has had, or has not asked for, what happened before this revision.</summary>
    public long Next { get; set; }
}

/// <summary>Responses of a member made responses to a client.</summary>
internal static class WatchResponses
{
    /// <summary>The same for a watch of another number; the events are shared.</summary>
    /// <param name="from">Without the events before this revision.</param>
    public static WatchResponse For(this WatchResponse response, long id, long from = 0)
    {
        WatchResponse own = new()
        {
            Header = response.Header,
            WatchId = id,
            Created = response.Created,
            Canceled = response.Canceled,
            CancelReason = response.CancelReason,
            CompactRevision = response.CompactRevision,
            Fragment = response.Fragment,
        };
        RepeatedField<Event> events = response.Events;
        if (events.Count > 0 && events[0].Kv.ModRevision >= from)
        {
            own.Events.AddRange(events);
        }
        else
        {
            own.Events.AddRange(events.Where(e => e.Kv.ModRevision >= from));
        }

        return own;
    }
}
