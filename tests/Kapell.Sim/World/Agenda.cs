namespace Kapell.Sim.World;

/// <summary>The one clock, in microseconds, and what is to happen when. Things of the same time happen in the order they were asked for.</summary>
internal sealed class Agenda
{
    private readonly PriorityQueue<Action, (long Time, ulong Turn)> _due = new();
    private ulong _turn;

    public long Now { get; private set; }

    /// <summary>Rises with every event: tells "before" and "after" apart where the clock does not.</summary>
    public ulong Turn { get; private set; }

    public void In(long microseconds, Action action) => _due.Enqueue(action, (Now + microseconds, _turn++));

    /// <summary>Does the next thing that is due by then; false when there is none, and then it is that time.</summary>
    public bool Next(long until)
    {
        if (!_due.TryPeek(out Action? action, out (long Time, ulong Turn) due) || due.Time > until)
        {
            Now = until;
            return false;
        }

        _due.Dequeue();
        Now = due.Time;
        Turn++;
        action();
        return true;
    }
}
