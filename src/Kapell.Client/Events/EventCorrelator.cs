using Kapell.Machinery;

namespace Kapell.Client.Events;

/// <summary>One thing to tell.</summary>
internal sealed record EventNote(ObjectReference About, string Type, string Reason, string Message, DateTimeOffset At);

/// <summary>What to do with a note: write a new event, or raise the count of one that is there.</summary>
internal sealed record EventPlan(EventNote Note, string Name, int Count, DateTimeOffset First, bool IsNew);

/// <summary>
/// Folds repeated events together (client-go: events_cache.go): the same event again raises a count; more than ten events that differ
/// only in their message within ten minutes become one "combined" event; one object may cause 25 at once and then one in five minutes.
/// A value over data: no clock, no task. Remembers the 4096 newest of each.
/// </summary>
internal sealed class EventCorrelator
{
    private const int RememberedMax = 4096;
    private const string CombinedPrefix = "(combined from similar events): ";
    private const int SimilarMax = 10;
    private const double SpamBurst = 25;
    private const double SpamRefillSeconds = 300;
    private static readonly TimeSpan SimilarWindow = TimeSpan.FromMinutes(10);
    private readonly Recent<(ObjectReference, string, string, string), Seen> _seen = new(RememberedMax);
    private readonly Recent<(ObjectReference, string, string), Similar> _similar = new(RememberedMax);
    private readonly Recent<ObjectReference, Bucket> _buckets = new(RememberedMax);

    /// <summary>Null when the event is to be dropped as spam.</summary>
    public EventPlan? Plan(EventNote note)
    {
        ObjectReference about = note.About with { ResourceVersion = "" };
        note = Aggregate(note, about);
        (ObjectReference, string, string, string) key = KeyOf(note);
        Bucket bucket = _buckets.Get(about with { FieldPath = "" }, () => new Bucket(SpamBurst, note.At));
        bucket.Tokens = Math.Min(SpamBurst, bucket.Tokens + ((note.At - bucket.At).TotalSeconds / SpamRefillSeconds));
        bucket.At = note.At;
        if (bucket.Tokens < 1)
        {
            return null;
        }

        bucket.Tokens -= 1;
        bool isNew = false;
        Seen seen = _seen.Get(key, () =>
        {
            isNew = true;
            return new Seen(EventName(note), note.At);
        });
        seen.Count++;
        return new EventPlan(note, seen.Name, seen.Count, seen.First, isNew);
    }

    /// <summary>The event that was to be counted up is gone: the next plan makes a new one.</summary>
    public void Forget(EventNote note) => _seen.Remove(KeyOf(note));

    // A combined event stands for all messages of its reason; its text is the newest one's.
    private static (ObjectReference About, string Type, string Reason, string Message) KeyOf(EventNote note) => (
        note.About with { ResourceVersion = "" }, note.Type, note.Reason,
        note.Message.StartsWith(CombinedPrefix, StringComparison.Ordinal) ? CombinedPrefix : note.Message);

    private EventNote Aggregate(EventNote note, ObjectReference about)
    {
        Similar similar = _similar.Get((about, note.Type, note.Reason), () => new Similar(note.At));
        if (note.At - similar.Last > SimilarWindow)
        {
            similar.Messages.Clear();
        }

        similar.Last = note.At;
        if (similar.Messages.Count < SimilarMax)
        {
            similar.Messages.Add(note.Message);
            return note;
        }

        return similar.Messages.Contains(note.Message) ? note : note with { Message = CombinedPrefix + note.Message };
    }

    private static string EventName(EventNote note) =>
        $"{note.About.Name}.{unchecked((note.At.UtcTicks - DateTimeOffset.UnixEpoch.Ticks) * 100):x}";

    private sealed class Seen(string name, DateTimeOffset first)
    {
        public string Name { get; } = name;

        public DateTimeOffset First { get; } = first;

        public int Count { get; set; }
    }

    private sealed class Similar(DateTimeOffset at)
    {
        public HashSet<string> Messages { get; } = new(StringComparer.Ordinal);

        public DateTimeOffset Last { get; set; } = at;
    }

    private sealed class Bucket(double tokens, DateTimeOffset at)
    {
        public double Tokens { get; set; } = tokens;

        public DateTimeOffset At { get; set; } = at;
    }

    /// <summary>A map that forgets what was longest unused.</summary>
    private sealed class Recent<TKey, TValue>(int max)
        where TKey : notnull
    {
        private readonly Dictionary<TKey, LinkedListNode<(TKey Key, TValue Value)>> _map = [];
        private readonly LinkedList<(TKey Key, TValue Value)> _order = [];

        public TValue Get(TKey key, Func<TValue> make)
        {
            if (_map.TryGetValue(key, out LinkedListNode<(TKey Key, TValue Value)>? node))
            {
                _order.Remove(node);
                _order.AddLast(node);
                return node.Value.Value;
            }

            if (_map.Count >= max)
            {
                _map.Remove(_order.First!.Value.Key); // Count >= max > 0, so there is a first
                _order.RemoveFirst();
            }

            TValue value = make();
            _map.Add(key, _order.AddLast((key, value)));
            return value;
        }

        public void Remove(TKey key)
        {
            if (_map.Remove(key, out LinkedListNode<(TKey Key, TValue Value)>? node))
            {
                _order.Remove(node);
            }
        }
    }
}
