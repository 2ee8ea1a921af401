namespace Kapell.Mvcc;

/// <summary>Half-open ranges of keys as etcd writes them: no end is the one key, an end of one zero byte has no upper bound.</summary>
public static class KeyRange
{
    public static bool IsUnbounded(ReadOnlySpan<byte> end) => end.Length == 1 && end[0] == 0;

    public static bool Contains(ReadOnlySpan<byte> key, ReadOnlySpan<byte> end, ReadOnlySpan<byte> candidate) => end.IsEmpty
        ? candidate.SequenceEqual(key)
        : candidate.SequenceCompareTo(key) >= 0 && (IsUnbounded(end) || candidate.SequenceCompareTo(end) < 0);
}
