using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Disruptions;

/// <summary>How many pods a budget's workloads should have and how many of them must stay healthy.</summary>
internal readonly record struct BudgetNeed(long Expected, long DesiredHealthy);

/// <summary>The arithmetic of disruption budgets (pkg/controller/disruption). Pure.</summary>
internal static class BudgetPlan
{
    private static readonly TimeSpan DeletionTimeout = TimeSpan.FromMinutes(2);

    /// <summary>Whether the wanted number of replicas counts; else the pods that are there do.</summary>
    public static bool CountsWorkloads(KubeObject budget) =>
        budget.Spec.Has("maxUnavailable") || budget.Spec.Get("minAvailable").ValueKind == JsonValueKind.String;

    public static BudgetNeed Need(KubeObject budget, long wanted, int pods)
    {
        if (budget.Spec.Has("maxUnavailable"))
        {
            return new BudgetNeed(wanted, Math.Max(0, wanted - IntOrPercent.Scale(budget.Spec.Get("maxUnavailable"), wanted, roundUp: true, absent: 0)));
        }

        JsonElement least = budget.Spec.Get("minAvailable");
        return least.ValueKind == JsonValueKind.String
            ? new BudgetNeed(wanted, IntOrPercent.Scale(least, wanted, roundUp: true, absent: 0))
            : new BudgetNeed(pods, least.ValueKind == JsonValueKind.Number ? least.GetInt64() : 0);
    }

    /// <summary>
    /// Evictions granted and not carried out yet. One is dropped when its pod is gone or going, or after two minutes; then
    /// <paramref name="kept"/> is told of a pod that is still there. <paramref name="recheck"/> is when the next one runs out.
    /// </summary>
    public static JsonObject Disrupted(
        KubeObject budget, IReadOnlyList<KubeObject> pods, DateTimeOffset now, Action<KubeObject> kept, out DateTimeOffset? recheck)
    {
        JsonObject left = [];
        recheck = null;
        IReadOnlyDictionary<string, string> noted = budget.Status.TextMap("disruptedPods");
        foreach (KubeObject pod in pods.Where(p => !p.IsDeleting))
        {
            if (!noted.TryGetValue(pod.Name, out string? text) || !Times.TryParse(text, out DateTimeOffset at))
            {
                continue;
            }

            DateTimeOffset expires = at + DeletionTimeout;
            if (expires < now)
            {
                kept(pod);
                continue;
            }

            left[pod.Name] = text;
            recheck = recheck is null || expires < recheck ? expires : recheck;
        }

        return left;
    }

    public static JsonObject Status(KubeObject budget, IReadOnlyList<KubeObject> pods, BudgetNeed need, JsonObject disrupted, DateTimeOffset now)
    {
        long healthy = pods.Count(p => !p.IsDeleting && !disrupted.ContainsKey(p.Name) && p.IsReady());
        long allowed = need.Expected <= 0 ? 0 : Math.Max(0, healthy - need.DesiredHealthy);
        JsonObject status = budget.Status.Object();
        status["currentHealthy"] = healthy;
        status["desiredHealthy"] = need.DesiredHealthy;
        status["expectedPods"] = need.Expected;
        status["disruptionsAllowed"] = allowed;
        status.SetOrRemove("observedGeneration", budget.Generation);
        if (disrupted.Count > 0)
        {
            status["disruptedPods"] = disrupted;
        }
        else
        {
            status.Remove("disruptedPods");
        }

        SetCondition(budget, status, allowed > 0, allowed > 0 ? "SufficientPods" : "InsufficientPods", "", now);
        return status;
    }

    /// <summary>When the need cannot be told nothing may be disrupted.</summary>
    public static JsonObject Failed(KubeObject budget, string message, DateTimeOffset now)
    {
        JsonObject status = budget.Status.Object();
        status["disruptionsAllowed"] = 0;
        status["currentHealthy"] ??= 0;
        status["desiredHealthy"] ??= 0;
        status["expectedPods"] ??= 0;
        SetCondition(budget, status, false, "SyncFailed", message, now);
        return status;
    }

    private static void SetCondition(KubeObject budget, JsonObject status, bool value, string reason, string message, DateTimeOffset now)
    {
        JsonObject? old = Conditions.Find(status, "DisruptionAllowed");
        string text = value ? "True" : "False";
        if (old is not null && Conditions.Text(old, "status") == text && Conditions.Text(old, "reason") == reason && Conditions.Text(old, "message") == message
            && old["observedGeneration"]?.ToString() == budget.Generation.ToString(System.Globalization.CultureInfo.InvariantCulture))
        {
            return;
        }

        Conditions.Replace(status, "DisruptionAllowed", text, reason, message, now, withUpdateTime: false);
        JsonObject condition = Conditions.Find(status, "DisruptionAllowed")!; // set in the line before
        condition["message"] ??= "";
        condition["observedGeneration"] = budget.Generation;
    }
}
