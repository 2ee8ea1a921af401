namespace Kapell.Fuzz.Inputs;

/// <summary>A place where bytes from outside come in.</summary>
internal abstract class FuzzTarget(string name)
{
    public string Name => name;

    /// <summary>Inputs that are right.</summary>
    public abstract IReadOnlyList<byte[]> Corpus { get; }

    /// <summary>What an input of so many bytes may cost, in bytes allocated.</summary>
    public virtual long AllocatedMax(int inputBytes) => (64L << 20) + (inputBytes * 200L);

    /// <summary>How long it may take: generous, for a hang is what is looked for.</summary>
    public virtual TimeSpan TimeMax => TimeSpan.FromSeconds(20);

    /// <summary>Takes the input as the product would; any exception that is not an orderly refusal is a finding.</summary>
    /// <returns>True when the input was accepted, false when it was refused.</returns>
    public abstract bool Run(byte[] input);

    /// <summary>For targets whose input is more than bytes.</summary>
    public virtual byte[] Mutate(Mutator mutator, byte[] input) => mutator.Mutate(input, Corpus);
}
