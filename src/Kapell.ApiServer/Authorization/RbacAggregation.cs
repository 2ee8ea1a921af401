using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authorization;

/// <summary>The union of rules that an aggregated ClusterRole is to carry (upstream: clusterroleaggregation controller).</summary>
internal static class RbacAggregation
{
    public const string LabelPrefix = "rbac.authorization.k8s.io/aggregate-to-";

    public static bool IsAggregated(JsonElement role) =>
        role.Get("aggregationRule").Get("clusterRoleSelectors").ValueKind == JsonValueKind.Array;

    /// <summary>Rules of all selected roles in order of their names, each rule once; the role itself never feeds itself.</summary>
    public static List<PolicyRule> Union(KubeObject role, IEnumerable<KubeObject> all)
    {
        LabelSelector[] selectors = [.. role.Root.Get("aggregationRule").Items("clusterRoleSelectors").Select(LabelSelector.FromJson)];
        List<PolicyRule> union = [];
        HashSet<string> seen = new(StringComparer.Ordinal);
        foreach (KubeObject other in all.OrderBy(r => r.Name, StringComparer.Ordinal))
        {
            if (other.Name == role.Name || !selectors.Any(s => s.Matches(other.Labels)))
            {
                continue;
            }

            foreach (PolicyRule rule in PolicyRule.ListFrom(other.Root))
            {
                if (seen.Add(rule.CompactText))
                {
                    union.Add(rule);
                }
            }
        }

        return union;
    }

    public static bool SameRules(IReadOnlyList<PolicyRule> a, IReadOnlyList<PolicyRule> b) =>
        a.Count == b.Count && a.Zip(b).All(p => p.First.CompactText == p.Second.CompactText);
}
