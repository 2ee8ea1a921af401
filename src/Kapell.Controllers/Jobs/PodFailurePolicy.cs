using System.Text.Json;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Jobs;

/// <summary>What a pod's failure means for its job.</summary>
internal enum FailureAction
{
    Count,
    Ignore,
    FailIndex,
    FailJob,
}

/// <summary>The action of the first rule that matches, with the words for the job's condition (pod_failure_policy.go). Pure.</summary>
internal readonly record struct FailureVerdict(FailureAction Action, string Message)
{
    public static FailureVerdict Of(KubeObject job, KubeObject pod)
    {
        int index = 0;
        foreach (JsonElement rule in job.Spec.Get("podFailurePolicy").Items("rules"))
        {
            if (Match(rule, pod) is { } what)
            {
                FailureAction action = rule.Text("action") switch
                {
                    "Ignore" => FailureAction.Ignore,
                    "FailJob" => FailureAction.FailJob,
                    "FailIndex" when job.HasBackoffPerIndex() => FailureAction.FailIndex,
                    _ => FailureAction.Count,
                };
                return new FailureVerdict(action, $"{what} matching {rule.Text("action")} rule at index {index}");
            }

            index++;
        }

        return new FailureVerdict(FailureAction.Count, "");
    }

    private static string? Match(JsonElement rule, KubeObject pod)
    {
        JsonElement codes = rule.Get("onExitCodes");
        if (codes.ValueKind == JsonValueKind.Object)
        {
            return MatchExitCodes(codes, pod);
        }

        foreach (JsonElement pattern in rule.Items("onPodConditions"))
        {
            string wanted = pattern.Text("status") is { Length: > 0 } status ? status : "True";
            if (PodView.Condition(pod, pattern.Text("type")).Text("status") == wanted)
            {
                return $"Pod {pod.Namespace}/{pod.Name} has condition {pattern.Text("type")}";
            }
        }

        return null;
    }

    private static string? MatchExitCodes(JsonElement codes, KubeObject pod)
    {
        long[] values = [.. codes.Items("values").Where(v => v.ValueKind == JsonValueKind.Number).Select(v => v.GetInt64())];
        string only = codes.Text("containerName");
        foreach (JsonElement container in pod.Status.Items("containerStatuses").Concat(pod.Status.Items("initContainerStatuses")))
        {
            JsonElement end = container.Get("state").Get("terminated");
            long code = end.Long("exitCode");
            if (end.ValueKind != JsonValueKind.Object || code == 0 || (only.Length > 0 && container.Text("name") != only))
            {
                continue;
            }

            if (values.Contains(code) == (codes.Text("operator") == "In"))
            {
                return $"Container {container.Text("name")} for pod {pod.Namespace}/{pod.Name} failed with exit code {code}";
            }
        }

        return null;
    }
}
