namespace Kapell.Sim.World;

/// <summary>A number made of everything that could be seen of a run: two runs of one seed must have the same. FNV-1a over 64-bit words.</summary>
internal sealed class Unseed
{
    public ulong Value { get; private set; } = 14695981039346656037;

    public void Add(ulong word)
    {
        for (int i = 0; i < 8; i++)
        {
            Value = unchecked((Value ^ ((word >> (i * 8)) & 0xFF)) * 1099511628211);
        }
    }

    public void Add(long word) => Add(unchecked((ulong)word));
}
