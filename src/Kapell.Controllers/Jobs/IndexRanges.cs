using System.Globalization;

namespace Kapell.Controllers.Jobs;

/// <summary>Completed indexes as a Job writes them: <c>0,2-5,7</c> (pkg/controller/job/indexed_job_utils.go). Pure.</summary>
internal static class IndexRanges
{
    /// <summary>Unreadable parts and indexes at or above <paramref name="completions"/> are left out: completions may have been lowered.</summary>
    public static SortedSet<int> Parse(string text, long completions)
    {
        SortedSet<int> set = [];
        foreach (string part in text.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            int dash = part.IndexOf('-', StringComparison.Ordinal);
            if (!Number(dash < 0 ? part : part[..dash], out int first) || !Number(dash < 0 ? part : part[(dash + 1)..], out int last))
            {
                continue;
            }

            for (int i = first; i <= last && i < completions; i++)
            {
                set.Add(i);
            }
        }

        return set;
    }

    public static string Text(IEnumerable<int> indexes)
    {
        List<string> parts = [];
        int first = -1, last = -1;
        foreach (int i in indexes.Order())
        {
            if (last >= 0 && i == last + 1)
            {
                last = i;
                continue;
            }

            Flush(parts, first, last);
            first = last = i;
        }

        Flush(parts, first, last);
        return string.Join(',', parts);
    }

    private static void Flush(List<string> parts, int first, int last)
    {
        if (first >= 0)
        {
            parts.Add(first == last ? Invariant(first) : $"{Invariant(first)}{(last == first + 1 ? ',' : '-')}{Invariant(last)}");
        }
    }

    private static string Invariant(int n) => n.ToString(CultureInfo.InvariantCulture);

    private static bool Number(string text, out int n) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out n);
}
