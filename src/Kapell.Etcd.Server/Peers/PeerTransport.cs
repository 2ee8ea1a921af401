using System.Collections.Concurrent;
using Kapell.Etcd.Protocol;
using Kapell.Raft;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Peers;

/// <summary>The streams to all other members, kept in step with the membership.</summary>
internal sealed class PeerTransport : IPeerTransport, IAsyncDisposable
{
    private readonly PeerContext _context;
    private readonly SnapshotSender _snapshots;
    private readonly ConcurrentDictionary<ulong, Peer> _peers = new();
    private readonly ConcurrentBag<Task> _closing = [];
    private readonly Lock _meeting = new(); // Two lanes of one member call at the same time.
    private volatile IReadOnlySet<ulong> _removed = new HashSet<ulong>();

    public PeerTransport(PeerContext context, IDisk disk, string checkpointDirectory)
    {
        _context = context;
        _snapshots = new SnapshotSender(context, disk, checkpointDirectory);
    }

    /// <summary>Members of earlier, which are told so.</summary>
    public IReadOnlySet<ulong> Removed => _removed;

    public PeerContext Context => _context;

    public int ConnectedCount => _peers.Values.Count(static p => p.Urgent.IsConnected);

    public bool IsConnected(ulong member) => ConnectedFor(member) is not null;

    /// <summary>For how long there has been a connection to the member without a break; null while there is none.</summary>
    public TimeSpan? ConnectedFor(ulong member) => _peers.TryGetValue(member, out Peer? peer) ? peer.Urgent.ConnectedFor : null;

    /// <summary>All that are spoken to.</summary>
    public IEnumerable<(ulong Member, bool IsConnected, PeerCounts Counts)> All => _peers
        .OrderBy(static p => p.Key).Select(static p => (p.Key, p.Value.Urgent.IsConnected, p.Value.Counts));

    /// <summary>Null for who is not spoken to.</summary>
    public PeerCounts? CountsOf(MemberId member) => _peers.TryGetValue(member.Value, out Peer? peer) ? peer.Counts : null;

    public IReadOnlyList<string> UrlsOf(ulong member) => _peers.TryGetValue(member, out Peer? peer) ? peer.Urls : [];

    public bool IsSendingSnapshot => _snapshots.IsRunning;

    public void Send(IReadOnlyList<Message> messages)
    {
        foreach (Message message in messages)
        {
            if (!_peers.TryGetValue(message.To.Value, out Peer? peer))
            {
                _context.Events.Unreachable(message.To);
                continue;
            }

            if (message is InstallSnapshot snapshot)
            {
                _snapshots.Begin(snapshot, peer.Urls, peer.Counts.Snapshots);
                continue;
            }

            PeerLane lane = message is AppendRequest or ForwardedProposal ? peer.Bulk : peer.Urgent;
            if (!lane.Offer(message))
            {
                peer.Counts.SendFailed();
                _context.Events.Unreachable(message.To);
            }
        }

        foreach (Message message in messages)
        {
            if (_peers.TryGetValue(message.To.Value, out Peer? peer))
            {
                peer.Urgent.Flush();
                peer.Bulk.Flush();
            }
        }
    }

    /// <summary>False when there is no stream to the member, or one of an older build that would not understand it.</summary>
    public bool TryAsk(MemberId to, LeasesRenewal request)
    {
        if (!_peers.TryGetValue(to.Value, out Peer? peer) || !peer.Urgent.TakesRenewals || !peer.Urgent.Offer(request))
        {
            return false;
        }

        peer.Urgent.Flush();
        return true;
    }

    /// <summary>When there is no way to the member now, it asks again.</summary>
    public void Answer(MemberId to, LeasesRenewed answer)
    {
        if (_peers.TryGetValue(to.Value, out Peer? peer) && peer.Urgent.Offer(answer))
        {
            peer.Urgent.Flush();
        }
    }

    public void Know(ulong self, IReadOnlyCollection<Member> members, IReadOnlyCollection<ulong> removed)
    {
        _removed = removed.ToHashSet();
        foreach (Member member in members.Where(m => m.ID != self))
        {
            string[] urls = [.. member.PeerURLs];
            Meet(member.ID, urls).Urls = urls;
        }

        // Only who was removed goes: while the log is read again, members that are there may not be known yet.
        foreach (ulong id in removed)
        {
            if (_peers.TryRemove(id, out Peer? gone))
            {
                _closing.Add(gone.DisposeAsync().AsTask());
            }
        }
    }

    /// <summary>A member of the cluster called and said where it can be reached; what the log says of it counts more.</summary>
    public void Called(MemberId from, IReadOnlyList<string> urls)
    {
        if (urls.Count > 0 && !_removed.Contains(from.Value))
        {
            Meet(from.Value, urls);
        }
    }

    private Peer Meet(ulong id, IReadOnlyList<string> urls)
    {
        lock (_meeting)
        {
            return _peers.TryGetValue(id, out Peer? known) ? known : _peers[id] = new Peer(_context, new MemberId(id), urls);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach ((_, Peer peer) in _peers)
        {
            _closing.Add(peer.DisposeAsync().AsTask());
        }

        _peers.Clear();
        await Task.WhenAll(_closing);
        await _snapshots.DisposeAsync();
        _context.Client.Dispose();
    }

    private sealed class Peer : IAsyncDisposable
    {
        private readonly PeerProbe _probe;

        public Peer(PeerContext context, MemberId id, IReadOnlyList<string> urls)
        {
            Urls = urls;
            Urgent = new PeerLane(context, id, Lane.Urgent, () => Urls, Counts);
            Bulk = new PeerLane(context, id, Lane.Bulk, () => Urls, Counts);
            _probe = new PeerProbe(context, id, () => Urls, Counts);
        }

        public IReadOnlyList<string> Urls { get; set; }

        public PeerCounts Counts { get; } = new();

        public PeerLane Urgent { get; }

        public PeerLane Bulk { get; }

        public async ValueTask DisposeAsync()
        {
            await _probe.DisposeAsync();
            await Urgent.DisposeAsync();
            await Bulk.DisposeAsync();
        }
    }
}
