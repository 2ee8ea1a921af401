namespace Kapell.ApiServer.Authorization;

/// <summary>Compares rights held with rights about to be granted (upstream: component-helpers auth/rbac/validation Covers).</summary>
internal static class RuleCoverage
{
    /// <summary>The rights in <paramref name="wanted"/> that no rule in <paramref name="held"/> grants, verbs of one target together.</summary>
    public static List<PolicyRule> Missing(IReadOnlyCollection<PolicyRule> held, IEnumerable<PolicyRule> wanted)
    {
        List<PolicyRule> missing = [];
        Dictionary<string, int> byTarget = new(StringComparer.Ordinal);
        foreach (PolicyRule right in wanted.SelectMany(r => r.BreakDown()))
        {
            if (held.Any(h => h.Covers(right)))
            {
                continue;
            }

            string target = (right with { Verbs = [] }).CompactText;
            if (byTarget.TryGetValue(target, out int at))
            {
                missing[at] = missing[at] with { Verbs = [.. missing[at].Verbs.Append(right.Verbs[0]).Distinct()] };
            }
            else
            {
                byTarget[target] = missing.Count;
                missing.Add(right);
            }
        }

        return missing;
    }

    /// <summary>Upstream's refusal (pkg/registry/rbac/validation/rule.go ConfirmNoEscalation), or null when nothing is missing.</summary>
    public static string? Refusal(
        string userName, IReadOnlyList<string> groups, IReadOnlyCollection<PolicyRule> held, IEnumerable<PolicyRule> wanted, IReadOnlyList<string> errors)
    {
        List<PolicyRule> missing = Missing(held, wanted);
        if (missing.Count == 0)
        {
            return null;
        }

        IEnumerable<string> lines = missing.Select(m => m.CompactText).Distinct().Order(StringComparer.Ordinal);
        string text = $"user {GoText.Quote(userName)} (groups={GoText.QuoteList(groups)}) is attempting to grant RBAC permissions "
            + "not currently held:\n" + string.Join('\n', lines);
        return errors.Count == 0 ? text : $"{text}; resolution errors: [{string.Join(", ", errors)}]";
    }
}
