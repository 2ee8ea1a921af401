using Kapell.Mvcc;

namespace Kapell.Sim.Faults;

/// <summary>Between the changes and a watch: loses every third.</summary>
internal sealed class DroppingTarget(IWatchTarget target) : IWatchTarget
{
    private int _count;

    public void Offer(long position, bool tombstone)
    {
        if (++_count % 3 != 0)
        {
            target.Offer(position, tombstone);
        }
    }

    public void Moved(MvccStore former, MvccStore store) => target.Moved(former, store);
}

/// <summary>Tells every change twice.</summary>
internal sealed class DuplicatingTarget(IWatchTarget target) : IWatchTarget
{
    public void Offer(long position, bool tombstone)
    {
        target.Offer(position, tombstone);
        target.Offer(position, tombstone);
    }

    public void Moved(MvccStore former, MvccStore store) => target.Moved(former, store);
}

/// <summary>Holds each change back until the next comes.</summary>
internal sealed class LateTarget(IWatchTarget target) : IWatchTarget
{
    private (long Position, bool Tombstone)? _held;

    public void Offer(long position, bool tombstone)
    {
        if (_held is { } held)
        {
            target.Offer(held.Position, held.Tombstone);
        }

        _held = (position, tombstone);
    }

    public void Moved(MvccStore former, MvccStore store) => target.Moved(former, store);
}

/// <summary>Does not hear that the store was replaced.</summary>
internal sealed class DeafTarget(IWatchTarget target) : IWatchTarget
{
    public void Offer(long position, bool tombstone) => target.Offer(position, tombstone);

    public void Moved(MvccStore former, MvccStore store)
    {
    }
}
