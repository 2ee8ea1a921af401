using System.Text.Json;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;

namespace Kapell.Kubelet.Runtime;

/// <summary>Requests and limits as the kernel's numbers. // Kubernetes: pkg/kubelet/cm/helpers_linux.go, pkg/kubelet/qos/policy.go</summary>
internal static class ResourceSettings
{
    public const long PeriodMicroseconds = 100_000;
    private const long QuotaMin = 1000;
    private const long SharesMin = 2;
    private const long SharesMax = 262_144;

    public static long Shares(decimal cores) => cores <= 0 ? SharesMin : Math.Clamp((long)(cores * 1024), SharesMin, SharesMax);

    public static long Quota(decimal cores) => cores <= 0 ? 0 : Math.Max(QuotaMin, (long)(cores * PeriodMicroseconds));

    public static LinuxContainerResources For(Pod pod, ContainerSpec spec, decimal memoryCapacity, long oomScoreMin)
    {
        JsonElement requests = spec.Json.Get("resources", "requests");
        JsonElement limits = spec.Json.Get("resources", "limits");
        decimal cpuLimit = ResourceAmounts.Of(limits, "cpu");
        decimal cpuRequest = ResourceAmounts.Of(requests, "cpu");
        decimal memoryLimit = ResourceAmounts.Of(limits, "memory");
        LinuxContainerResources result = new()
        {
            CpuShares = Shares(cpuRequest == 0 && cpuLimit > 0 && !requests.Has("cpu") ? cpuLimit : cpuRequest),
            OomScoreAdj = Math.Max(oomScoreMin, OomScore(pod, ResourceAmounts.Of(requests, "memory"), memoryCapacity)),
        };
        if (cpuLimit > 0)
        {
            result.CpuPeriod = PeriodMicroseconds;
            result.CpuQuota = Quota(cpuLimit);
        }

        result.MemoryLimitInBytes = (long)memoryLimit;
        return result;
    }

    public static long OomScore(Pod pod, decimal memoryRequest, decimal memoryCapacity)
    {
        if (pod.Spec.Text("priorityClassName") == "system-node-critical")
        {
            return -997;
        }

        switch (pod.Qos)
        {
            case QosClass.Guaranteed:
                return -997;
            case QosClass.BestEffort:
                return 1000;
            default:
                long score = 1000 - (memoryCapacity <= 0 ? 0 : (long)(1000 * memoryRequest / memoryCapacity));
                return score < 3 ? 3 : score == 1000 ? 999 : score;
        }
    }

    /// <summary>What the pod's own cgroup gets: the sum of its containers', a limit only when every container has one.</summary>
    public static PodLimits ForPod(Pod pod)
    {
        decimal cpu = Total(pod, "requests", "cpu", out _);
        decimal cpuLimit = Total(pod, "limits", "cpu", out bool allCpu);
        decimal memory = Total(pod, "limits", "memory", out bool allMemory);
        return new PodLimits(
            Shares(cpu > 0 ? cpu : allCpu ? cpuLimit : 0), allCpu ? Quota(cpuLimit) : 0, allMemory ? (long)memory : 0);
    }

    /// <summary>What the pod asks of the node, its overhead included.</summary>
    public static decimal Request(Pod pod, string name) => Total(pod, "requests", name, out _) + ResourceAmounts.Of(pod.Spec.Get("overhead"), name);

    // Init containers run one at a time before the others, so the pod needs the larger of the two. // KEP-753 for sidecars
    private static decimal Total(Pod pod, string list, string name, out bool all)
    {
        all = true;
        decimal main = 0;
        decimal initMax = 0;
        decimal sidecars = 0;
        foreach (ContainerSpec spec in pod.InitContainers)
        {
            decimal amount = ResourceAmounts.Of(spec.Json.Get("resources", list), name);
            all &= amount > 0;
            sidecars += spec.IsSidecar ? amount : 0;
            initMax = Math.Max(initMax, spec.IsSidecar ? sidecars : sidecars + amount);
        }

        foreach (ContainerSpec spec in pod.Containers)
        {
            decimal amount = ResourceAmounts.Of(spec.Json.Get("resources", list), name);
            all &= amount > 0;
            main += amount;
        }

        return Math.Max(main + sidecars, initMax);
    }
}

/// <summary>Limits of a pod's cgroup; zero means none.</summary>
internal readonly record struct PodLimits(long CpuShares, long CpuQuota, long MemoryBytes);
