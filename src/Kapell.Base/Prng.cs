using System.Numerics;

namespace Kapell.Base;

/// <summary>
/// The only source of randomness below the edge: xoshiro256++ (Blackman and Vigna), seeded through SplitMix64.
/// One seed gives one sequence on every machine and runtime. Not for secrets. Not safe for concurrent use: split a child for
/// each owner instead.
/// </summary>
public sealed class Prng
{
    private ulong _s0, _s1, _s2, _s3;

    public Prng(ulong seed)
    {
        _s0 = SplitMix(ref seed);
        _s1 = SplitMix(ref seed);
        _s2 = SplitMix(ref seed);
        _s3 = SplitMix(ref seed);
    }

    public ulong NextUInt64()
    {
        ulong result = unchecked(BitOperations.RotateLeft(_s0 + _s3, 23) + _s0);
        ulong t = _s1 << 17;
        _s2 ^= _s0;
        _s3 ^= _s1;
        _s1 ^= _s2;
        _s0 ^= _s3;
        _s2 ^= t;
        _s3 = BitOperations.RotateLeft(_s3, 45);
        return result;
    }

    /// <summary>Uniform in [0, <paramref name="exclusiveMax"/>); unbiased (Lemire's multiply and reject).</summary>
    public ulong NextBelow(ulong exclusiveMax)
    {
        Check.That(exclusiveMax > 0);
        ulong threshold = unchecked((0 - exclusiveMax) % exclusiveMax);
        while (true)
        {
            ulong high = Math.BigMul(NextUInt64(), exclusiveMax, out ulong low);
            if (low >= threshold)
            {
                return high;
            }
        }
    }

    /// <summary>Uniform in [<paramref name="inclusiveMin"/>, <paramref name="exclusiveMax"/>).</summary>
    public int NextInt(int inclusiveMin, int exclusiveMax)
    {
        Check.That(inclusiveMin < exclusiveMax);
        return checked((int)(inclusiveMin + (long)NextBelow((ulong)((long)exclusiveMax - inclusiveMin))));
    }

    /// <summary>Uniform in [0, 1), 53 bits.</summary>
    public double NextDouble() => (NextUInt64() >> 11) * (1.0 / (1UL << 53));

    /// <summary>True with the given probability.</summary>
    public bool Chance(double probability) => NextDouble() < probability;

    /// <summary>A child with a sequence of its own: draws of one owner do not shift those of another.</summary>
    public Prng Split() => new(NextUInt64());

    private static ulong SplitMix(ref ulong state)
    {
        unchecked
        {
            state += 0x9E3779B97F4A7C15UL;
            ulong z = state;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
            return z ^ (z >> 31);
        }
    }
}
