using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.Kubelet.Pods;

/// <summary>Quality of service: how a pod's requests and limits rank it when memory runs out.</summary>
internal enum QosClass
{
    Guaranteed,
    Burstable,
    BestEffort,
}

/// <summary>The class of a pod. // Kubernetes: pkg/apis/core/v1/helper/qos GetPodQOS</summary>
internal static class QosClasses
{
    public static QosClass Of(Pod pod)
    {
        if (Enum.TryParse(pod.Object.Status.Text("qosClass"), out QosClass known))
        {
            return known;
        }

        bool any = false;
        bool guaranteed = true;
        foreach (ContainerSpec container in pod.InitContainers.Concat(pod.Containers))
        {
            JsonElement resources = container.Json.Get("resources");
            foreach (string name in (ReadOnlySpan<string>)["cpu", "memory"])
            {
                decimal limit = ResourceAmounts.Of(resources.Get("limits"), name);
                decimal request = ResourceAmounts.Of(resources.Get("requests"), name);
                any |= limit > 0 || request > 0;
                guaranteed &= limit > 0 && (request == 0 || request == limit);
            }
        }

        return !any ? QosClass.BestEffort : guaranteed ? QosClass.Guaranteed : QosClass.Burstable;
    }
}
