using Google.Protobuf;

namespace Kapell.Etcd.Server.Replication;

/// <summary>
/// Ranges of keys, joined where they meet, so that to add one and to ask for a key takes the logarithm of their number. An end is the bytes that it
/// is: a range without one ("\0") holds no key, for none lies before it. etcd: pkg/adt/interval_tree.go, as key.go uses it
/// </summary>
internal sealed class DisjointRanges
{
    private static readonly Comparer<Span> ByBegin = Comparer<Span>.Create(static (a, b) => a.Begin.Span.SequenceCompareTo(b.Begin.Span));

    private readonly SortedSet<Span> _spans = new(ByBegin);

    /// <summary>All of both, in one of them; the other is used up.</summary>
    public static DisjointRanges Union(DisjointRanges a, DisjointRanges b)
    {
        (DisjointRanges fewer, DisjointRanges more) = a._spans.Count < b._spans.Count ? (a, b) : (b, a);
        foreach (Span span in fewer._spans)
        {
            more.Add(span);
        }

        return more;
    }

    /// <param name="end">Empty: the key alone.</param>
    public void Add(ByteString key, ByteString end) => Add(new Span(key, end.IsEmpty ? ByteString.CopyFrom([.. key.Span, 0]) : end));

    public bool Contains(ByteString key) => LastUpTo(key) is { } span && key.Span.SequenceCompareTo(span.End.Span) < 0;

    private void Add(Span span)
    {
        if (span.End.Span.SequenceCompareTo(span.Begin.Span) <= 0)
        {
            return;
        }

        // From behind: whatever begins up to its end, and reaches to its begin, becomes one with it.
        while (LastUpTo(span.End) is { } other && other.End.Span.SequenceCompareTo(span.Begin.Span) >= 0)
        {
            _spans.Remove(other);
            span = new Span(
                other.Begin.Span.SequenceCompareTo(span.Begin.Span) < 0 ? other.Begin : span.Begin,
                other.End.Span.SequenceCompareTo(span.End.Span) > 0 ? other.End : span.End);
        }

        _spans.Add(span);
    }

    private Span? LastUpTo(ByteString key) =>
        _spans.Count > 0 && _spans.Min.Begin.Span.SequenceCompareTo(key.Span) <= 0
            ? _spans.GetViewBetween(_spans.Min, new Span(key, key)).Max
            : null;

    private readonly record struct Span(ByteString Begin, ByteString End);
}
