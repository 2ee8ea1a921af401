namespace Kapell.Sim.World;

/// <summary>A promise was broken. The message names the seed that shows it again.</summary>
internal sealed class SimulationFailedException(ulong seed, long microseconds, string what, Exception? cause = null)
    : Exception($"seed={seed} at {microseconds / 1000} ms: {what}", cause)
{
    public string What { get; } = what;
}
