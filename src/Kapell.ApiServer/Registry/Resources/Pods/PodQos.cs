using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>The quality-of-service class of a pod (pkg/apis/core/v1/helper/qos: ComputePodQOS).</summary>
internal static class PodQos
{
    private static readonly string[] Counted = ["cpu", "memory"];

    public static string Of(JsonObject? spec)
    {
        if (spec.Obj("resources") is { } own && (own.Has("requests") || own.Has("limits")))
        {
            return ClassOf([own]);
        }

        return ClassOf([.. spec.Items("containers").Concat(spec.Items("initContainers")).Select(c => c.Obj("resources") ?? [])]);
    }

    private static string ClassOf(JsonObject[] all)
    {
        bool any = false;
        bool guaranteed = true;
        Dictionary<string, Quantity> requests = new(StringComparer.Ordinal);
        Dictionary<string, Quantity> limits = new(StringComparer.Ordinal);
        foreach (JsonObject resources in all)
        {
            any |= Add(requests, resources.Obj("requests")) > 0;
            int limited = Add(limits, resources.Obj("limits"));
            any |= limited > 0;
            guaranteed &= limited == Counted.Length;
        }

        if (!any)
        {
            return "BestEffort";
        }

        bool equal = guaranteed && requests.Count == limits.Count
            && requests.All(r => limits.TryGetValue(r.Key, out Quantity limit) && limit.CompareTo(r.Value) == 0);
        return equal ? "Guaranteed" : "Burstable";
    }

    private static int Add(Dictionary<string, Quantity> sums, JsonObject? list)
    {
        int found = 0;
        foreach (string name in Counted)
        {
            if (Quantities.TryGet(list, name, out Quantity value) && value.CompareTo(default) > 0)
            {
                found++;
                sums[name] = sums.TryGetValue(name, out Quantity sum) ? sum.Add(value) : value;
            }
        }

        return found;
    }
}
