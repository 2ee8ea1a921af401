using System.Text.Json;
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

    public static (string Reason, string Message)? Refuse(Pod pod, IReadOnlyList<string> allowedUnsafeSysctls)
    {
        // containerd 1.6 ignores user namespaces silently: a pod that asks for one would run as the host's root.
        if (!pod.Spec.Bool("hostUsers", absent: true))
        {
            return ("UserNamespacesUnsupported", "Pod was rejected: the container runtime of this node does not support user namespaces (hostUsers: false)");
        }

        foreach (JsonElement sysctl in pod.Spec.Get("securityContext").Items("sysctls"))
        {
            string name = sysctl.Text("name").Replace('/', '.');
            bool allowed = SafeSysctls.Contains(name) || allowedUnsafeSysctls.Any(a => a == name || (a.EndsWith('*') && name.StartsWith(a[..^1], StringComparison.Ordinal)));
            if (!allowed)
            {
                return ("SysctlForbidden", $"Pod was rejected: forbidden sysctl: \"{name}\" not allowlisted");
            }
        }

        return null;
    }
}
