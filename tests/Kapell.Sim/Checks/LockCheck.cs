using Kapell.Sim.World;

namespace Kapell.Sim.Checks;

/// <summary>
/// Mutual exclusion: at no revision may somebody be in what a lock guards whose key is not the oldest of those under its prefix. Whoever is
/// let in is compared with the history of the store, not with what it believed.
/// </summary>
internal sealed class LockCheck(Simulation sim, string prefix)
{
    private readonly List<(string Key, long Made, long EnteredAt)> _entered = [];

    /// <summary>As the product's lock sees it: nobody made a key earlier that is still there.</summary>
    public bool IsHolder(string key, long made) => sim.Leader is { } leader && Holder(leader.Store.Revision) is { } holder && holder == (key, made);

    /// <summary>A client is let in now.</summary>
    public void Entered(string key, long made) => _entered.Add((key, made, sim.Checks.Revision));

    public void Run()
    {
        foreach ((string key, long made, long at) in _entered)
        {
            if (Holder(at) is { } holder && holder != (key, made))
            {
                throw sim.Fail($"a lock is held by {holder.Key} of revision {holder.Made} at revision {at}, and {key} of {made} is let in");
            }
        }
    }

    /// <summary>By the history: the key that was made first of those that are there.</summary>
    private (string Key, long Made)? Holder(long revision)
    {
        Dictionary<string, long> made = new(StringComparer.Ordinal);
        for (long r = 2; r <= Math.Min(revision, sim.Checks.Revision); r++)
        {
            foreach (Change change in sim.Checks.ChangesOf(r).Where(c => c.Key.StartsWith(prefix, StringComparison.Ordinal)))
            {
                if (change.Value is null)
                {
                    made.Remove(change.Key);
                }
                else
                {
                    made.TryAdd(change.Key, r);
                }
            }
        }

        return made.Count == 0 ? null : made.OrderBy(static m => m.Value).Select(static m => (m.Key, m.Value)).First();
    }
}
