using System.Globalization;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.ReplicaSets;

/// <summary>Which pods go first when there are too many (controller_utils.go: ActivePodsWithRanks). A pure order over data.</summary>
internal static class PodRanking
{
    private const string DeletionCost = "controller.kubernetes.io/pod-deletion-cost";

    /// <param name="related">All active pods of the same owner's siblings: pods on crowded nodes go first.</param>
    public static List<KubeObject> ToDelete(IReadOnlyList<KubeObject> pods, IReadOnlyList<KubeObject> related, int count)
    {
        if (count >= pods.Count)
        {
            return [.. pods];
        }

        Dictionary<string, int> perNode = related.Where(p => p.IsActive()).GroupBy(p => p.NodeName()).ToDictionary(g => g.Key, g => g.Count(), StringComparer.Ordinal);
        return
        [
            .. pods
                .OrderBy(p => p.NodeName().Length > 0)
                .ThenBy(p => p.Phase() switch { "Pending" => 0, "Unknown" => 1, "Running" => 2, _ => 0 })
                .ThenBy(p => p.IsReady())
                .ThenBy(Cost)
                .ThenByDescending(p => perNode.GetValueOrDefault(p.NodeName()))
                .ThenByDescending(p => p.IsReady() ? Age(p.ReadySince()) : 0)
                .ThenByDescending(p => p.MaxRestarts())
                .ThenByDescending(p => Age(p.Created()))
                .ThenBy(p => p.Uid, StringComparer.Ordinal)
                .Take(count),
        ];
    }

    // The younger the larger. Upstream compares on a logarithmic scale so that ages of one magnitude count as equal and chance decides;
    // we compare exactly, which is one of the orders that allows.
    private static long Age(DateTimeOffset t) => t.UtcTicks;

    private static int Cost(KubeObject pod) =>
        pod.Annotations.TryGetValue(DeletionCost, out string? text) && int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int cost)
            ? cost : 0;
}
