using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// The watches of one call and what they have to say, without the call: requests come in, <see cref="Collect"/> gives the responses in
/// the order in which they must be sent. <paramref name="signal"/> is called, from any thread, when there may be something to collect.
/// </summary>
internal sealed class WatchSession(int fragmentBytes, WatchCounts counts, Action signal)
{
    private const long NoWatch = -1; // etcd: clientv3.InvalidWatchID

    private readonly Dictionary<long, Watcher> _watchers = [];

    /// <summary>Those that may have work, so that an event of one watch does not visit all.</summary>
    private List<Watcher> _noted = [];
    private List<Watcher> _visiting = [];
    private readonly Queue<Answer> _answers = new();
    private long _nextId;
    private bool _progressWanted;
    private bool _progressDue;

    /// <summary>Guards the fields below, and what the watchers share with the applying thread.</summary>
    public Lock Lock { get; } = new();

    public WatchCounts Counts => counts;

    /// <summary>There is something to send. From any thread.</summary>
    public void Signal() => signal();

    /// <summary>Under the lock: the watch has something to send, or to look for.</summary>
    public void Note(Watcher watcher)
    {
        if (!watcher.IsNoted)
        {
            watcher.IsNoted = true;
            _noted.Add(watcher);
        }
    }

    /// <summary>A new watch, to be registered; null when it was refused, which is answered.</summary>
    /// <param name="refusal">Why it must not be, if that is known already.</param>
    public Watcher? Create(WatchCreateRequest request, string? refusal = null)
    {
        lock (Lock)
        {
            long id = request.WatchId;
            refusal ??= Refusal(request, id);
            if (refusal is not null)
            {
                _answers.Enqueue(new Answer(NoWatch, Created: true, Canceled: true, Reason: refusal));
                return null;
            }

            while (id == 0 && _watchers.ContainsKey(_nextId))
            {
                _nextId++;
            }

            id = id == 0 ? _nextId++ : id;
            Watcher watcher = new(this, id, request);
            _watchers.Add(id, watcher);
            return watcher;
        }
    }

    /// <summary>By the owner of the store: from now on the watch hears of changes.</summary>
    /// <param name="between">Stands between the hub and the watch; null: nothing does.</param>
    public void Register(Watcher watcher, MvccStore store, IWatchTarget? between = null)
    {
        bool past = watcher.StartRevision > 0 && watcher.StartRevision <= store.Revision;
        lock (Lock)
        {
            bool compacted = past && watcher.StartRevision < store.CompactRevision;
            watcher.StartAt(compacted ? -1 : past ? store.PositionOf(watcher.StartRevision) : store.LogEnd, past);

            // Not before it is registered, and with the revision of now: the client counts on every event after it, and resumes behind it.
            _answers.Enqueue(new Answer(watcher.Id, Created: true, Revision: store.Revision));
            Note(watcher);
        }

        watcher.Between = between;
        store.Watchers.Add(watcher.Key, watcher.End, between ?? watcher);
    }

    /// <summary>Takes the watch out, to be unregistered; null when there is none.</summary>
    public Watcher? Remove(long id)
    {
        lock (Lock)
        {
            return _watchers.Remove(id, out Watcher? watcher) ? watcher : null;
        }
    }

    public Watcher[] RemoveAll()
    {
        lock (Lock)
        {
            Watcher[] watchers = [.. _watchers.Values.OrderBy(static w => w.Id)];
            _watchers.Clear();
            return watchers;
        }
    }

    /// <summary>By the owner of the store, when the watch has been removed.</summary>
    public static void Unregister(Watcher watcher, MvccStore store)
    {
        if (watcher.Registered)
        {
            watcher.Registered = false;
            watcher.Leave();
            store.Watchers.Remove(watcher.Key, watcher.End, watcher.Between ?? watcher);
        }
    }

    public void AnswerCanceled(long id)
    {
        lock (Lock)
        {
            _answers.Enqueue(new Answer(id, Canceled: true));
        }
    }

    /// <summary>The client asks how far it is.</summary>
    public void WantProgress()
    {
        lock (Lock)
        {
            _progressWanted = true;
        }
    }

    /// <summary>It is time to tell the watches that want it how far they are.</summary>
    public void ProgressDue()
    {
        lock (Lock)
        {
            _progressDue = true;
        }
    }

    /// <summary>
    /// While nobody changes the store: answers to requests first, so that "created" precedes the events, then what the watches have.
    /// Whether there is more to collect.
    /// </summary>
    /// <param name="compacted">Watches that lost their place by a compaction, to be removed.</param>
    /// <param name="answered">How many requests are answered by this.</param>
    public bool Collect(MvccStore store, ReplyHeader header, List<Reply> replies, List<long> compacted, out int answered)
    {
        bool more = false;
        answered = 0;
        lock (Lock)
        {
            while (_answers.TryDequeue(out Answer? answer))
            {
                replies.Add(answer.Encode(header, store.Revision));
                answered++;
            }

            (_noted, _visiting) = (_visiting, _noted);
            foreach (Watcher watcher in _visiting)
            {
                watcher.IsNoted = false;
                if (!watcher.HasWork || _watchers.GetValueOrDefault(watcher.Id) != watcher)
                {
                    continue;
                }

                int before = replies.Count;
                if (WatchBatch.Take(store, header, watcher, fragmentBytes, replies))
                {
                    watcher.SentSomething |= replies.Count > before;
                    if (watcher.HasWork)
                    {
                        more = true;
                        Note(watcher);
                    }
                }
                else
                {
                    replies.Add(CompactedReply(store, header, watcher.Id));
                    compacted.Add(watcher.Id);
                }
            }

            _visiting.Clear();
            AddProgress(store, header, replies, allSent: !more);
        }

        return more;
    }

    private string? Refusal(WatchCreateRequest request, long id) =>
        request.StartRevision < 0 ? EtcdError.Compacted.Text
        : !request.RangeEnd.IsEmpty && !KeyRange.IsUnbounded(request.RangeEnd.Span)
            && request.Key.Span.SequenceCompareTo(request.RangeEnd.Span) >= 0 ? "mvcc: watcher range is empty"
        : id != 0 && _watchers.ContainsKey(id) ? "mvcc: duplicate watch ID provided on the WatchStream"
        : null;

    private void AddProgress(MvccStore store, ReplyHeader header, List<Reply> replies, bool allSent)
    {
        // Only when every watch is up to date may a revision be promised for all of them, and to one that begins in the future nothing
        // that lies before its begin. etcd: watchable_store.go progressIfSync
        bool IsThere(Watcher watcher) => watcher.Registered && store.Revision >= watcher.StartRevision;
        if (_progressWanted && allSent && _watchers.Count > 0 && _watchers.Values.All(IsThere))
        {
            _progressWanted = false;
            replies.Add(WatchBatch.Begin(header, store.Revision, NoWatch).Finish());
        }

        if (!_progressDue)
        {
            return;
        }

        _progressDue = false;
        foreach (Watcher watcher in _watchers.Values.Where(w => w.NotifiesProgress && IsThere(w)).OrderBy(static w => w.Id))
        {
            if (!watcher.SentSomething && !watcher.HasWork)
            {
                replies.Add(WatchBatch.Begin(header, store.Revision, watcher.Id).Finish());
            }

            watcher.SentSomething = false;
        }
    }

    private static Reply CompactedReply(MvccStore store, ReplyHeader header, long id)
    {
        ReplyWriter writer = WatchBatch.Begin(header, store.Revision, id);
        writer.Flag(4, true);
        writer.Number(5, store.CompactRevision);
        return writer.Finish();
    }

    private sealed record Answer(long Id, bool Created = false, bool Canceled = false, string? Reason = null, long? Revision = null)
    {
        public Reply Encode(ReplyHeader header, long revision)
        {
            ReplyWriter writer = WatchBatch.Begin(header, Revision ?? revision, Id);
            writer.Flag(3, Created);
            writer.Flag(4, Canceled);
            writer.Text(6, Reason ?? "");
            return writer.Finish();
        }
    }
}
