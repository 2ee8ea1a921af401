using System.Globalization;
using System.Text.Json;
using Kapell.Kubelet.Runtime;
using Kapell.Machinery;

namespace Kapell.Kubelet.Pods;

/// <summary>What this kubelet must refuse to run, with the reason and message that the failed pod shows.</summary>
internal static class PodAdmission
{
    // Kubernetes: pkg/kubelet/sysctl/safe_sysctls.go
    private static readonly HashSet<string> SafeSysctls = new(StringComparer.Ordinal)
    {
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    };

    /// <summary>
    /// Whether the node has room for the pod beside the others: a pod may come with a node name that no scheduler has looked at.
    /// // Kubernetes: pkg/kubelet/lifecycle/predicate.go
    /// </summary>
    public static (string Reason, string Message)? RefuseForRoom(Pod pod, IReadOnlyList<Pod> others, Func<string, decimal> allocatable, int podsMax)
    {
        if (others.Count + 1 > podsMax)
        {
            return ("OutOfpods", $"Node didn't have enough resource: pods, requested: 1, used: {others.Count}, capacity: {podsMax}");
        }

        foreach ((string name, decimal unit) in ((string, decimal)[])[("cpu", 0.001m), ("memory", 1m), ("ephemeral-storage", 1m)])
        {
            decimal wanted = ResourceSettings.Request(pod, name);
            decimal used = others.Sum(o => ResourceSettings.Request(o, name));
            if (wanted > 0 && used + wanted > allocatable(name))
            {
                string numbers = string.Create(CultureInfo.InvariantCulture,
                    $"requested: {(long)(wanted / unit)}, used: {(long)(used / unit)}, capacity: {(long)(allocatable(name) / unit)}");
                return ("OutOf" + name, $"Node didn't have enough resource: {name}, {numbers}");
            }
        }

        HashSet<(string, string, long)> taken = [.. others.SelectMany(HostPorts)];
        return HostPorts(pod).Any(p => taken.Any(t => Clash(p, t)))
            ? ("NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports")
            : null;
    }

    private static IEnumerable<(string Ip, string Protocol, long Port)> HostPorts(Pod pod) =>
        pod.Containers.Concat(pod.InitContainers.Where(c => c.IsSidecar)).SelectMany(c => c.Json.Items("ports")).Where(p => p.Long("hostPort") > 0).Select(p => (
            p.Text("hostIP") is { Length: > 0 } ip ? ip : "0.0.0.0", p.Text("protocol") is { Length: > 0 } protocol ? protocol : "TCP", p.Long("hostPort")));

    private static bool Clash((string Ip, string Protocol, long Port) a, (string Ip, string Protocol, long Port) b) =>
        a.Port == b.Port && a.Protocol == b.Protocol && (a.Ip == b.Ip || a.Ip == "0.0.0.0" || b.Ip == "0.0.0.0");

    public static (string Reason, string Message)? Refuse(Pod pod, IReadOnlyList<string> allowedUnsafeSysctls)
    {
        // containerd 1.6 ignores user namespaces silently: a pod that asks for one would run as the host's root.
        if (!pod.Spec.Bool("hostUsers", absent: true))
        {
            return ("UserNamespacesUnsupported", "the container runtime of this node does not support user namespaces (hostUsers: false)");
        }

        foreach (JsonElement sysctl in pod.Spec.Get("securityContext").Items("sysctls"))
        {
            string name = sysctl.Text("name").Replace('/', '.');
            bool allowed = SafeSysctls.Contains(name) || allowedUnsafeSysctls.Any(a => a == name || (a.EndsWith('*') && name.StartsWith(a[..^1], StringComparison.Ordinal)));
            if (!allowed)
            {
                return ("SysctlForbidden", $"forbidden sysctl: \"{name}\" not allowlisted");
            }
        }

        return null;
    }
}
