using Kapell.Scheduler.Framework;

namespace Kapell.Scheduler.Queue;

/// <summary>
/// Pods that wait for a node (upstream: scheduling_queue.go): ready ones by priority, then age; those that were refused wait until
/// something changed that may help, or five minutes, and are backed off 1 s, 2 s, 4 s ... 10 s. Time is passed in; one owner.
/// </summary>
public sealed class SchedulingQueue
{
    private static readonly TimeSpan BackoffInitial = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan BackoffMax = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan UnschedulableMax = TimeSpan.FromMinutes(5);
    private readonly Dictionary<string, Waiting> _pods = new(StringComparer.Ordinal);
    private readonly SortedSet<Waiting> _active = new(Waiting.ByPriorityThenAge);
    private long _sequence;
    private long _moves;

    private enum Place
    {
        Active,
        Backoff,
        Unschedulable,
        InFlight,
    }

    public int Count => _pods.Count;

    /// <summary>Adds a pod, or takes its new form; a changed pod that was refused is tried again.</summary>
    public void AddOrUpdate(PodInfo pod, DateTimeOffset now)
    {
        if (!_pods.TryGetValue(pod.Uid, out Waiting? known))
        {
            known = new Waiting(pod, ++_sequence);
            _pods.Add(pod.Uid, known);
            Activate(known);
            return;
        }

        bool same = known.Pod.Object.Generation == pod.Object.Generation && known.Pod.Object.Labels.SequenceEqual(pod.Object.Labels);
        _active.Remove(known);
        known.Pod = pod;
        switch (known.Place)
        {
            case Place.Active:
                _active.Add(known);
                break;
            case Place.Unschedulable when !same:
                Release(known, now);
                break;
        }
    }

    public void Remove(string uid)
    {
        if (_pods.Remove(uid, out Waiting? known))
        {
            _active.Remove(known);
        }
    }

    /// <summary>The next pod to place, or null. It is in flight until <see cref="Remove"/> or <see cref="PutBack"/>.</summary>
    public PodInfo? Pop(DateTimeOffset now)
    {
        foreach (Waiting waiting in _pods.Values)
        {
            bool due = waiting.Place switch
            {
                Place.Backoff => waiting.ReadyAt <= now,
                Place.Unschedulable => waiting.RefusedAt + UnschedulableMax <= now,
                _ => false,
            };
            if (due)
            {
                Activate(waiting);
            }
        }

        if (_active.Min is not { } first)
        {
            return null;
        }

        _active.Remove(first);
        first.Place = Place.InFlight;
        first.MovesAtPop = _moves;
        first.Attempts++;
        return first.Pod;
    }

    /// <summary>When <see cref="Pop"/> may have something without any further event; null for never.</summary>
    public DateTimeOffset? NextDue()
    {
        DateTimeOffset? next = null;
        foreach (Waiting waiting in _pods.Values)
        {
            DateTimeOffset? due = waiting.Place switch
            {
                Place.Backoff => waiting.ReadyAt,
                Place.Unschedulable => waiting.RefusedAt + UnschedulableMax,
                _ => null,
            };
            next = due is { } d && (next is null || d < next) ? d : next;
        }

        return next;
    }

    /// <summary>The pod in flight found no node, or its binding failed.</summary>
    /// <param name="retry">True when the failure says nothing about the cluster (the API server did not answer): back off and try again.</param>
    public void PutBack(string uid, bool retry, DateTimeOffset now)
    {
        if (!_pods.TryGetValue(uid, out Waiting? waiting))
        {
            return; // deleted meanwhile
        }

        waiting.RefusedAt = now;
        waiting.Place = Place.Unschedulable;
        if (retry || waiting.MovesAtPop != _moves)
        {
            Release(waiting, now); // what it was judged by has changed since
        }
    }

    /// <summary>Something changed in the cluster that may make room: a node came or changed, a pod went.</summary>
    public void MoveAll(DateTimeOffset now)
    {
        _moves++;
        foreach (Waiting waiting in _pods.Values.Where(w => w.Place == Place.Unschedulable))
        {
            Release(waiting, now);
        }
    }

    private void Release(Waiting waiting, DateTimeOffset now)
    {
        TimeSpan backoff = BackoffInitial * Math.Pow(2, Math.Min(waiting.Attempts, 8) - 1);
        waiting.ReadyAt = waiting.RefusedAt + (backoff < BackoffMax ? backoff : BackoffMax);
        if (waiting.ReadyAt <= now)
        {
            Activate(waiting);
        }
        else
        {
            waiting.Place = Place.Backoff;
        }
    }

    private void Activate(Waiting waiting)
    {
        waiting.Place = Place.Active;
        _active.Add(waiting);
    }

    private sealed class Waiting(PodInfo pod, long sequence)
    {
        public static readonly IComparer<Waiting> ByPriorityThenAge = Comparer<Waiting>.Create((a, b) =>
        {
            int byPriority = b.Pod.Priority.CompareTo(a.Pod.Priority);
            return byPriority != 0 ? byPriority : a._sequence.CompareTo(b._sequence);
        });

        private readonly long _sequence = sequence;

        public PodInfo Pod { get; set; } = pod;

        public Place Place { get; set; }

        public int Attempts { get; set; }

        public long MovesAtPop { get; set; }

        public DateTimeOffset RefusedAt { get; set; }

        public DateTimeOffset ReadyAt { get; set; }
    }
}
