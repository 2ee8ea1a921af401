using Kapell.Etcd.Server.Proxies.Shared;

namespace Kapell.Etcd.Server.Proxies.Watches;

/// <summary>One client's stream: its watches by its own numbers.</summary>
internal sealed class WatchBranch : Branch
{
    private readonly HashSet<WatchReceiver> _receivers = [];
    private readonly Dictionary<long, WatchReceiver> _named = [];
    private long _nextId;

    public bool Has(long id) => _named.ContainsKey(id);

    public WatchReceiver? Find(long id) => _named.GetValueOrDefault(id);

    /// <param name="receiver">Has its number already if the client has chosen one.</param>
    public void Add(WatchReceiver receiver)
    {
        _receivers.Add(receiver);
        if (receiver.Id is { } id)
        {
            _named.Add(id, receiver);
        }
    }

    /// <summary>The member has begun it: if it has no number it gets the next one. Those that are refused take none.</summary>
    public void Name(WatchReceiver receiver)
    {
        if (receiver.Id is null)
        {
            while (_named.ContainsKey(_nextId))
            {
                _nextId++;
            }

            receiver.Id = _nextId++;
            _named.Add(receiver.Id.Value, receiver);
        }
    }

    public void Remove(WatchReceiver receiver)
    {
        _receivers.Remove(receiver);
        if (receiver.Id is { } id)
        {
            _named.Remove(id);
        }
    }

    public WatchReceiver[] RemoveAll()
    {
        WatchReceiver[] all = [.. _receivers];
        _receivers.Clear();
        _named.Clear();
        return all;
    }
}
