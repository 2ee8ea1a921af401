using Google.Protobuf;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Comparison;

/// <summary>What came of one stretch.</summary>
/// <param name="Next">Where the next one begins; null at the end of the keys.</param>
/// <param name="Compared">Members that were compared, this one counted; 1 when nobody else could be.</param>
internal readonly record struct PieceOutcome(ByteString? Next, int Compared, Difference? Difference);

/// <summary>
/// Compares what members hold, stretch by stretch, each at a revision that all of them have. Content is a function of the log, so a
/// difference is damage, or a mistake of ours. Then halves say where: the first key and the first change of it that differ, and who is
/// not with the majority there. What is compared is history too, as far as it is not compacted: watches read it.
/// </summary>
internal sealed class MemberComparison(IComparedMembers members)
{
    private const int Attempts = 4;
    private const int ListKeys = 4;
    private const int HalvingsMax = 64;

    /// <summary>One stretch from a key on: as much as a member may look at in one go.</summary>
    public async Task<PieceOutcome> PieceAsync(ByteString start, CancellationToken cancellation)
    {
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            CompareRequest request = new() { Start = start, KeysMax = StoreAnswers.KeysMax };
            if (Refresh(request) is not { } own)
            {
                continue;
            }

            request.KeysMax = 0;
            request.End = own.Next;
            IReadOnlyDictionary<ulong, CompareAnswer> others = await members.OthersAsync(request, cancellation);
            if (AdoptCompaction(request, others) is { } again)
            {
                request.CompactRevision = again;
                CompareAnswer same = members.Own(request);
                if (same.Status != CompareAnswer.Types.Status.Ok || same.Cut)
                {
                    continue;
                }

                same.Next = own.Next;
                own = same;
                others = await members.OthersAsync(request, cancellation);
            }

            Dictionary<ulong, CompareAnswer> good = Good(own, others);
            Difference? difference = AreAlike(good.Values) ? null : await LocateAsync(request, own, cancellation);
            return new PieceOutcome(own.Next.IsEmpty ? null : own.Next, good.Count, difference);
        }

        // Compaction outran us each time; the keys come up again in the next round.
        CompareAnswer skipped = members.Own(new CompareRequest { Start = start, KeysMax = StoreAnswers.KeysMax });
        return new PieceOutcome(skipped.Next.IsEmpty ? null : skipped.Next, 1, null);
    }

    /// <summary>Our own answer at our newest revision, which the request then names.</summary>
    private CompareAnswer? Refresh(CompareRequest request)
    {
        CompareAnswer now = members.Own(new CompareRequest { Revision = long.MaxValue });
        (request.Revision, request.CompactRevision) = (now.OwnRevision, now.OwnCompactRevision);
        CompareAnswer own = members.Own(request);
        return own.Status == CompareAnswer.Types.Status.Ok ? own : null;
    }

    /// <summary>When somebody has compacted further, but not beyond the revision, all can be looked at from there.</summary>
    private static long? AdoptCompaction(CompareRequest request, IReadOnlyDictionary<ulong, CompareAnswer> others)
    {
        long furthest = others.Values.Where(static a => a.Status == CompareAnswer.Types.Status.Compacted)
            .Select(static a => a.OwnCompactRevision).Where(c => c <= request.Revision).DefaultIfEmpty(0).Max();
        return furthest > request.CompactRevision ? furthest : null;
    }

    private Dictionary<ulong, CompareAnswer> Good(CompareAnswer own, IReadOnlyDictionary<ulong, CompareAnswer> others)
    {
        Dictionary<ulong, CompareAnswer> all = others.Where(static o => o.Value.Status == CompareAnswer.Types.Status.Ok).ToDictionary(static o => o.Key, static o => o.Value);
        all[members.Self] = own;
        return all;
    }

    private static bool AreAlike(IEnumerable<CompareAnswer> answers) => answers.Select(static a => (a.Keys, a.Records, a.Bytes, a.Crc)).Distinct().Count() == 1;

    /// <summary>Halves the stretch until few keys are left of it, then has them named.</summary>
    private async Task<Difference> LocateAsync(CompareRequest found, CompareAnswer own, CancellationToken cancellation)
    {
        CompareRequest range = found.Clone();
        for (int i = 0; i < HalvingsMax && own.Keys > ListKeys; i++)
        {
            CompareRequest half = range.Clone();
            half.KeysMax = Math.Max(1, own.Keys / 2);
            CompareAnswer first = members.Own(half);
            if (first.Status != CompareAnswer.Types.Status.Ok || first.Next.IsEmpty)
            {
                break;
            }

            half.KeysMax = 0;
            half.End = first.Next;
            Dictionary<ulong, CompareAnswer> answers = Good(first, await members.OthersAsync(half, cancellation));
            if (!AreAlike(answers.Values))
            {
                (range, own) = (half, first);
                continue;
            }

            range.Start = first.Next;
            own = members.Own(range);
            if (own.Status != CompareAnswer.Types.Status.Ok)
            {
                break;
            }
        }

        await NarrowRevisionsAsync(range, cancellation);
        return await NameAsync(range, cancellation) ?? new Difference(range.Start.ToByteArray(), 0, [], [members.Self]);
    }

    /// <summary>
    /// The first revision at which the stretch differs, by halves: what differs once differs at every later revision too. Of a key that is
    /// changed often, the one change is then left.
    /// </summary>
    private async Task NarrowRevisionsAsync(CompareRequest range, CancellationToken cancellation)
    {
        (long alike, long differs) = (range.CompactRevision - 1, range.Revision);
        while (differs - alike > 1)
        {
            CompareRequest probe = range.Clone();
            probe.Revision = alike + ((differs - alike) / 2);
            CompareAnswer own = members.Own(probe);
            Dictionary<ulong, CompareAnswer> answers = Good(own, await members.OthersAsync(probe, cancellation));
            if (own.Status != CompareAnswer.Types.Status.Ok || answers.Count < 2)
            {
                return;
            }

            (alike, differs) = AreAlike(answers.Values) ? (probe.Revision, differs) : (alike, probe.Revision);
        }

        range.Revision = differs;
        range.CompactRevision = Math.Max(range.CompactRevision, differs - 1);
    }

    private async Task<Difference?> NameAsync(CompareRequest range, CancellationToken cancellation)
    {
        CompareRequest request = range.Clone();
        request.List = true;
        Dictionary<ulong, CompareAnswer> answers = Good(members.Own(request), await members.OthersAsync(request, cancellation));
        if (answers.Values.Any(static a => a.Status != CompareAnswer.Types.Status.Ok))
        {
            return null;
        }

        int length = answers.Values.Max(static a => a.Changes.Count);
        for (int i = 0; i < length; i++)
        {
            ILookup<ComparedChange?, ulong> sides = answers.ToLookup(a => i < a.Value.Changes.Count ? a.Value.Changes[i] : null, static a => a.Key);
            if (sides.Count > 1)
            {
                return Judge(sides, answers.Keys);
            }
        }

        return null;
    }

    private Difference Judge(ILookup<ComparedChange?, ulong> sides, IEnumerable<ulong> asked)
    {
        // Where one has a change that another lacks, the earlier of the two is where they part.
        ComparedChange first = sides.Select(static s => s.Key).OfType<ComparedChange>().Aggregate(static (a, b) => IsBefore(b, a) ? b : a);
        IGrouping<ComparedChange?, ulong> largest = sides.MaxBy(static s => s.Count())!;
        bool decided = largest.Count() > members.Count / 2;
        ulong[] differing = decided ? [.. sides.Where(s => s != largest).SelectMany(static s => s).Order()] : [];
        return new Difference(first.Key.ToByteArray(), first.Revision, differing, [.. asked.Order()]);
    }

    private static bool IsBefore(ComparedChange one, ComparedChange other)
    {
        int order = one.Key.Span.SequenceCompareTo(other.Key.Span);
        return order < 0 || (order == 0 && one.Revision < other.Revision);
    }
}
