using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Proxies.Shared;

namespace Kapell.Etcd.Server.Proxies.Watches;

/// <summary>
/// The watches of many clients. Every watch begins as one of its own at the member, so that its answer, its first revision and its refusal
/// are the member's. As soon as it stands where another watch of the same range stands, both are one: the member sends each event once, however
/// many clients wait for it. etcd: server/proxy/grpcproxy/watch_broadcast.go, watch_broadcasts.go
/// </summary>
/// <param name="ask">Sends to the member, in this order.</param>
internal sealed class WatchTrunk(Action<IMessage> ask) : ITrunk<WatchBranch>
{
    private const long NoWatch = -1; // etcd: clientv3.InvalidWatchID

    private readonly Dictionary<long, WatchFeed> _feeds = []; // By number at the member.
    private readonly Dictionary<WatchedRange, List<WatchFeed>> _ranges = [];
    private readonly Queue<Creation> _creating = new(); // A stream is answered in the order in which it asks.
    private readonly HashSet<WatchBranch> _askedProgress = [];
    private ResponseHeader _header = new(); // Of the last response.
    private long _feedsBegun;

    /// <summary>Watches at the member.</summary>
    public int Feeds => _ranges.Values.Sum(static r => r.Count);

    /// <summary>Watches of clients.</summary>
    public int Receivers => _ranges.Values.Sum(static r => r.Sum(static f => f.Receivers.Count));

    /// <summary>How often an event response was given to one more client than the member had to send it to, since the start.</summary>
    public long Spared { get; private set; }

    public void Take(WatchBranch branch, byte[] request)
    {
        WatchRequest asked = WatchRequest.Parser.ParseFrom(request);
        switch (asked.RequestUnionCase)
        {
            case WatchRequest.RequestUnionOneofCase.CreateRequest:
                Create(branch, asked.CreateRequest);
                break;
            case WatchRequest.RequestUnionOneofCase.CancelRequest:
                Cancel(branch, asked.CancelRequest.WatchId);
                break;
            case WatchRequest.RequestUnionOneofCase.ProgressRequest:
                AskProgress(branch);
                break;
        }
    }

    /// <summary>Its watches go on until it leaves.</summary>
    public void AskedAll(WatchBranch branch)
    {
    }

    public void Sends(IMessage request)
    {
    }

    public void Create(WatchBranch branch, WatchCreateRequest request)
    {
        if (request.WatchId != 0 && branch.Has(request.WatchId))
        {
            _creating.Enqueue(new Creation(null, branch));
            AnswerRefused();
            return;
        }

        WatchedRange range = new(request.Key, request.RangeEnd, request.PrevKv, request.Fragment, string.Join(' ', request.Filters.Distinct().Order()));
        WatchFeed feed = new(++_feedsBegun, range, request.StartRevision);
        WatchReceiver receiver = new(branch, feed) { Id = request.WatchId == 0 ? null : request.WatchId, NotifiesProgress = request.ProgressNotify };
        branch.Add(receiver);
        feed.Receivers.Add(receiver);
        _feeds.Add(feed.Id, feed);
        if (!_ranges.TryGetValue(range, out List<WatchFeed>? same))
        {
            _ranges.Add(range, same = []);
        }

        same.Add(feed);
        _creating.Enqueue(new Creation(feed, branch));
        WatchCreateRequest own = request.Clone();
        own.WatchId = feed.Id;
        own.ProgressNotify = true;
        ask(new WatchRequest { CreateRequest = own });
    }

    public void Cancel(WatchBranch branch, long id)
    {
        if (branch.Find(id) is not { } receiver)
        {
            // etcd: says nothing.
            return;
        }

        if (receiver.Feed.Receivers.Count == 1)
        {
            // The member answers.
            receiver.Feed.IsEnding = true;
            ask(new WatchRequest { CancelRequest = new WatchCancelRequest { WatchId = receiver.Feed.Id } });
            return;
        }

        branch.Remove(receiver);
        receiver.Feed.Receivers.Remove(receiver);
        branch.Give(new WatchResponse { Header = _header, WatchId = id, Canceled = true }, 0);
    }

    public void AskProgress(WatchBranch branch)
    {
        _askedProgress.Add(branch);
        ask(new WatchRequest { ProgressRequest = new WatchProgressRequest() });
    }

    public void Leave(WatchBranch branch)
    {
        _askedProgress.Remove(branch);
        foreach (WatchReceiver receiver in branch.RemoveAll())
        {
            receiver.Feed.Receivers.Remove(receiver);
            if (receiver.Feed.Receivers.Count == 0)
            {
                Drop(receiver.Feed);
            }
        }
    }

    public void Received(byte[] bytes)
    {
        WatchResponse response = WatchResponse.Parser.ParseFrom(bytes);
        _header = response.Header ?? _header;
        if (response.Created)
        {
            Created(response);
        }
        else if (response.WatchId == NoWatch)
        {
            ProgressTold(response);
        }
        else if (_feeds.TryGetValue(response.WatchId, out WatchFeed? feed))
        {
            if (response.Canceled)
            {
                Canceled(feed, response);
            }
            else
            {
                Happened(feed, response, bytes.Length);
            }
        }
    }

    private void Created(WatchResponse response)
    {
        if (!_creating.TryDequeue(out Creation? creation) || creation.Feed is not { } feed)
        {
            throw new InvalidDataException("a member answered to a watch that nobody asked for");
        }

        if (response.Canceled)
        {
            Remove(feed);
            foreach (WatchReceiver receiver in feed.Receivers)
            {
                receiver.Branch.Remove(receiver);
                receiver.Branch.Give(response, 0);
            }
        }
        else
        {
            long now = response.Header?.Revision ?? 0;
            feed.Begin(now);
            foreach (WatchReceiver receiver in feed.Receivers)
            {
                receiver.Next = feed.Next;
                receiver.Branch.Name(receiver);
                receiver.Branch.Give(response.For(receiver.Number), 0);
            }

            Join(feed);
        }

        AnswerRefused();
    }

    /// <summary>Those that were refused here and have nobody before them any more.</summary>
    private void AnswerRefused()
    {
        while (_creating.TryPeek(out Creation? creation) && creation.Feed is null)
        {
            _creating.Dequeue();
            creation.Branch.Give(
                new WatchResponse
                {
                    Header = _header, WatchId = NoWatch, Created = true, Canceled = true, CancelReason = "mvcc: duplicate watch ID provided on the WatchStream",
                },
                0);
        }
    }

    private void ProgressTold(WatchResponse response)
    {
        foreach (WatchBranch branch in _askedProgress)
        {
            branch.Give(response, 0);
        }

        _askedProgress.Clear();
    }

    /// <summary>By the client or, after a compaction, by the member.</summary>
    private void Canceled(WatchFeed feed, WatchResponse response)
    {
        Remove(feed);
        foreach (WatchReceiver receiver in feed.Receivers)
        {
            receiver.Branch.Remove(receiver);
            receiver.Branch.Give(response.For(receiver.Number), 0);
        }
    }

    private void Happened(WatchFeed feed, WatchResponse response, int bytes)
    {
        int given = 0;
        foreach (WatchReceiver receiver in feed.Receivers)
        {
            if (response.Events.Count == 0 ? receiver.NotifiesProgress && _header.Revision >= receiver.Next - 1 : response.Events[^1].Kv.ModRevision >= receiver.Next)
            {
                receiver.Branch.Give(response.For(receiver.Number, receiver.Next), bytes);
                given++;
            }
        }

        Spared += Math.Max(0, given - 1);
        if (response.Events.Count > 0)
        {
            feed.Delivered(response.Events[^1].Kv.ModRevision, response.Fragment);
            Join(feed);
        }
    }

    /// <summary>Makes the feed one with another that will have all its events; and others one with it.</summary>
    private void Join(WatchFeed feed)
    {
        if (!_ranges.TryGetValue(feed.Range, out List<WatchFeed>? same) || same.Count < 2)
        {
            return;
        }

        foreach (WatchFeed other in same.ToArray())
        {
            // The one with fewer clients moves when either may.
            bool mayGo = other != feed && feed.MayJoin(other);
            bool mayCome = other != feed && other.MayJoin(feed);
            if (mayCome && (!mayGo || other.Receivers.Count < feed.Receivers.Count))
            {
                Move(other, feed);
            }
            else if (mayGo)
            {
                Move(feed, other);
                return;
            }
        }
    }

    private void Move(WatchFeed from, WatchFeed to)
    {
        foreach (WatchReceiver receiver in from.Receivers)
        {
            receiver.Next = Math.Max(receiver.Next, from.Next);
            receiver.Feed = to;
            to.Receivers.Add(receiver);
        }

        from.Receivers.Clear();
        Drop(from);
    }

    /// <summary>Nobody waits for it: the member is told, and its answer is for nobody.</summary>
    private void Drop(WatchFeed feed)
    {
        feed.IsEnding = true;
        Forget(feed);
        ask(new WatchRequest { CancelRequest = new WatchCancelRequest { WatchId = feed.Id } });
    }

    private void Remove(WatchFeed feed)
    {
        _feeds.Remove(feed.Id);
        Forget(feed);
    }

    private void Forget(WatchFeed feed)
    {
        if (_ranges.TryGetValue(feed.Range, out List<WatchFeed>? same) && same.Remove(feed) && same.Count == 0)
        {
            _ranges.Remove(feed.Range);
        }
    }

    /// <param name="Feed">Null: it was refused here.</param>
    private sealed record Creation(WatchFeed? Feed, WatchBranch Branch);
}
