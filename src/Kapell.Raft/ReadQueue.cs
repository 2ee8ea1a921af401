using Kapell.Base;

namespace Kapell.Raft;

internal readonly record struct PendingRead(MemberId From, ulong Context, LogIndex Index);

/// <summary>
/// Reads that wait until a majority has confirmed that we still lead (thesis §6.4). Positions count all reads of this term; a heartbeat
/// carries the newest one and its answer confirms all up to it, so one round serves any number of reads.
/// </summary>
internal sealed class ReadQueue
{
    private readonly Queue<PendingRead> _unconfirmed = new();
    private readonly Dictionary<MemberId, ulong> _acknowledged = [];
    private ulong _confirmed;

    public int Count => _unconfirmed.Count;

    /// <summary>The newest position that a majority has confirmed.</summary>
    public ulong Confirmed => _confirmed;

    /// <summary>What heartbeats carry; zero when nothing waits.</summary>
    public ulong Position => _unconfirmed.Count == 0 ? 0 : _confirmed + (ulong)_unconfirmed.Count;

    public void Add(PendingRead read) => _unconfirmed.Enqueue(read);

    public void Acknowledge(MemberId from, ulong position)
    {
        // What was never sent cannot be confirmed.
        bool known = position <= _confirmed + (ulong)_unconfirmed.Count;
        if (known && position > _acknowledged.GetValueOrDefault(from))
        {
            _acknowledged[from] = position;
        }
    }

    public List<PendingRead> TakeConfirmed(Membership members)
    {
        List<PendingRead> confirmed = [];
        ulong position = members.Quorum((id, _) => _acknowledged.GetValueOrDefault(id));
        Check.That(position <= _confirmed + (ulong)_unconfirmed.Count);
        while (_confirmed < position)
        {
            confirmed.Add(_unconfirmed.Dequeue());
            _confirmed++;
        }

        return confirmed;
    }

    public void Clear()
    {
        _unconfirmed.Clear();
        _acknowledged.Clear();
        _confirmed = 0;
    }
}
