using System.Text.Json;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;

namespace Kapell.Kubelet.Runtime;

/// <summary>A pod's sandbox as the runtime is asked for it. // Kubernetes: kuberuntime generatePodSandboxConfig</summary>
internal static class SandboxConfigs
{
    private const int HostnameBytesMax = 63;

    public static PodSandboxConfig For(Pod pod, uint attempt, KubeletOptions options, string cgroupParent, string hostResolvConf)
    {
        PodSandboxConfig config = new()
        {
            Metadata = new PodSandboxMetadata { Name = pod.Name, Namespace = pod.Namespace, Uid = pod.Uid, Attempt = attempt },
            LogDirectory = options.PodLogDir(pod.Namespace, pod.Name, pod.Uid), DnsConfig = DnsSettings.For(pod, options, hostResolvConf),
            Hostname = pod.HostNetwork ? "" : Hostname(pod),
            Linux = new LinuxPodSandboxConfig { CgroupParent = cgroupParent, SecurityContext = Security(pod) },
        };
        foreach ((string key, string value) in pod.Object.Labels)
        {
            config.Labels[key] = value;
        }

        foreach ((string key, string value) in pod.Object.Annotations)
        {
            config.Annotations[key] = value;
        }

        config.Labels[RuntimeLabels.PodName] = pod.Name;
        config.Labels[RuntimeLabels.PodNamespace] = pod.Namespace;
        config.Labels[RuntimeLabels.PodUid] = pod.Uid;
        if (!config.Annotations.ContainsKey(RuntimeLabels.ConfigSource))
        {
            config.Annotations[RuntimeLabels.ConfigSource] = "api";
        }

        foreach (JsonElement sysctl in pod.Spec.Get("securityContext").Items("sysctls"))
        {
            config.Linux.Sysctls[sysctl.Text("name")] = sysctl.Text("value");
        }

        if (!pod.HostNetwork)
        {
            config.PortMappings.AddRange(PortMappings(pod));
        }

        return config;
    }

    public static string Hostname(Pod pod)
    {
        string name = pod.Spec.Text("hostname") is { Length: > 0 } hostname ? hostname : pod.Name;
        if (name.Length > HostnameBytesMax)
        {
            // Kubernetes: kubelet_pods.go truncatePodHostnameIfNeeded
            name = name[..HostnameBytesMax].TrimEnd('-', '.');
        }

        return name;
    }

    /// <summary>The name in the cluster's DNS, for setHostnameAsFQDN and the hosts file; empty without a subdomain.</summary>
    public static string Fqdn(Pod pod, KubeletOptions options) => pod.Spec.Text("subdomain") is { Length: > 0 } subdomain
        ? $"{Hostname(pod)}.{subdomain}.{pod.Namespace}.svc.{options.ClusterDomain}"
        : "";

    public static NamespaceOption Namespaces(Pod pod, string targetContainerId = "") => new()
    {
        Network = pod.HostNetwork ? NamespaceMode.Node : NamespaceMode.Pod,
        Ipc = pod.Spec.Bool("hostIPC") ? NamespaceMode.Node : NamespaceMode.Pod,
        Pid = pod.Spec.Bool("hostPID") ? NamespaceMode.Node
            : pod.ShareProcessNamespace ? NamespaceMode.Pod
            : targetContainerId.Length > 0 ? NamespaceMode.Target
            : NamespaceMode.Container,
        TargetId = targetContainerId,
    };

    private static LinuxSandboxSecurityContext Security(Pod pod)
    {
        JsonElement context = pod.Spec.Get("securityContext");
        LinuxSandboxSecurityContext result = new()
        {
            NamespaceOptions = Namespaces(pod), Privileged = pod.AllContainers.Any(c => c.SecurityContext.Bool("privileged")),
            Seccomp = new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.RuntimeDefault },
        };
        if (context.Has("runAsUser"))
        {
            result.RunAsUser = new Int64Value { Value = context.Long("runAsUser") };
            if (context.Has("runAsGroup"))
            {
                result.RunAsGroup = new Int64Value { Value = context.Long("runAsGroup") };
            }
        }

        result.SupplementalGroups.AddRange(SecuritySettings.SupplementalGroups(pod));
        return result;
    }

    private static IEnumerable<PortMapping> PortMappings(Pod pod) =>
        from container in pod.InitContainers.Concat(pod.Containers)
        from port in container.Json.Items("ports")
        where port.Long("hostPort") > 0
        select new PortMapping
        {
            HostPort = (int)port.Long("hostPort"), ContainerPort = (int)port.Long("containerPort"), HostIp = port.Text("hostIP"),
            Protocol = port.Text("protocol") switch { "UDP" => Protocol.Udp, "SCTP" => Protocol.Sctp, _ => Protocol.Tcp },
        };
}
