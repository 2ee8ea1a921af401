using System.Globalization;
using Kapell.Base;

namespace Kapell.Etcd.Server.Comparison;

/// <summary>Members differ: where first, and who.</summary>
/// <param name="Key">The first key that differs; the beginning of the stretch when the history that differed was compacted while it was looked for.</param>
/// <param name="Revision">The first change of that key that differs; 0 when it is not known.</param>
/// <param name="Differing">Who is not with the majority of all members; empty when there is none.</param>
/// <param name="Asked">The members that were compared.</param>
internal sealed record Difference(byte[] Key, long Revision, IReadOnlyList<ulong> Differing, IReadOnlyList<ulong> Asked)
{
    private const int KeyBytesShown = 256;

    /// <summary>Whom the alarm names; 0 is the whole cluster, as upstream has it where no majority is alike.</summary>
    public IReadOnlyList<ulong> Accused => Differing.Count > 0 ? Differing : [0];

    public string Place => Revision > 0
        ? string.Create(CultureInfo.InvariantCulture, $"first at key \"{Show(Key)}\", revision {Revision}")
        : $"at or after key \"{Show(Key)}\", in history that was compacted while it was looked for";

    public override string ToString() =>
        (Differing.Count == 0
            ? $"members {Ids(Asked)} have different content and no majority is alike"
            : $"member {Ids(Differing)} differs from the majority") + ", " + Place;

    /// <summary>A key for people; long ones are cut.</summary>
    public static string Show(ReadOnlySpan<byte> key) => ByteText.Show(key, KeyBytesShown);

    private static string Ids(IEnumerable<ulong> ids) => string.Join(", ", ids.Select(static i => i.ToString("x", CultureInfo.InvariantCulture)));
}
