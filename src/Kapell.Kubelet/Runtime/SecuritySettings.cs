using System.Text.Json;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;

namespace Kapell.Kubelet.Runtime;

/// <summary>A container's security context: the container's own fields win over the pod's. // Kubernetes: kuberuntime/security_context.go</summary>
internal static class SecuritySettings
{
    private static readonly string[] MaskedPaths =
    [
        "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
        "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
    ];

    private static readonly string[] ReadonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

    public static IEnumerable<long> SupplementalGroups(Pod pod)
    {
        JsonElement context = pod.Spec.Get("securityContext");
        if (context.Has("fsGroup"))
        {
            yield return context.Long("fsGroup");
        }

        foreach (JsonElement group in context.Items("supplementalGroups"))
        {
            if (group.TryGetInt64(out long id))
            {
                yield return id;
            }
        }
    }

    public static LinuxContainerSecurityContext For(Pod pod, ContainerSpec spec, Image? image, string targetContainerId)
    {
        JsonElement podContext = pod.Spec.Get("securityContext");
        JsonElement own = spec.SecurityContext;
        bool privileged = own.Bool("privileged");
        LinuxContainerSecurityContext result = new()
        {
            Privileged = privileged, ReadonlyRootfs = own.Bool("readOnlyRootFilesystem"),
            NoNewPrivs = !own.Bool("allowPrivilegeEscalation", absent: true),
            NamespaceOptions = SandboxConfigs.Namespaces(pod, targetContainerId), Seccomp = Seccomp(podContext, own, privileged),
        };
        (long? user, long? group) = UserAndGroup(podContext, own);
        CheckNonRoot(pod, spec, podContext, own, user, image);
        if (user is { } uid)
        {
            result.RunAsUser = new Int64Value { Value = uid };
        }
        else if (image?.Uid is { } imageUid)
        {
            result.RunAsUser = new Int64Value { Value = imageUid.Value };
        }
        else if (image?.Username is { Length: > 0 } name)
        {
            result.RunAsUsername = name;
        }

        // The runtime refuses a group without a user; an image without a user runs as root.
        if (group is { } gid)
        {
            if (result.RunAsUser is null && result.RunAsUsername.Length == 0)
            {
                result.RunAsUser = new Int64Value { Value = 0 };
            }

            result.RunAsGroup = new Int64Value { Value = gid };
        }

        result.SupplementalGroups.AddRange(SupplementalGroups(pod));
        JsonElement capabilities = own.Get("capabilities");
        result.Capabilities = new Capability();
        result.Capabilities.AddCapabilities.AddRange(capabilities.Items("add").Select(c => c.GetString() ?? ""));
        result.Capabilities.DropCapabilities.AddRange(capabilities.Items("drop").Select(c => c.GetString() ?? ""));
        if (!privileged && own.Text("procMount") != "Unmasked")
        {
            result.MaskedPaths.AddRange(MaskedPaths);
            result.ReadonlyPaths.AddRange(ReadonlyPaths);
        }

        return result;
    }

    private static (long? User, long? Group) UserAndGroup(JsonElement pod, JsonElement own)
    {
        long? Pick(string name) => own.Has(name) ? own.Long(name) : pod.Has(name) ? pod.Long(name) : null;
        return (Pick("runAsUser"), Pick("runAsGroup"));
    }

    // Kubernetes: kuberuntime verifyRunAsNonRoot
    private static void CheckNonRoot(Pod pod, ContainerSpec spec, JsonElement podContext, JsonElement own, long? user, Image? image)
    {
        bool wanted = own.Has("runAsNonRoot") ? own.Bool("runAsNonRoot") : podContext.Bool("runAsNonRoot");
        if (!wanted)
        {
            return;
        }

        string where = $"(pod: \"{pod.FullName}\", container: {spec.Name})";
        string? wrong = user switch
        {
            0 => $"container's runAsUser breaks non-root policy {where}",
            not null => null,
            _ when image?.Uid is { Value: 0 } => $"container has runAsNonRoot and image will run as root {where}",
            _ when image?.Uid is not null => null,
            _ when image?.Username is { Length: > 0 } name =>
                $"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {where}",
            _ => $"container has runAsNonRoot and image will run as root {where}",
        };
        if (wrong is not null)
        {
            throw new StartException("CreateContainerConfigError", wrong);
        }
    }

    private static SecurityProfile Seccomp(JsonElement pod, JsonElement own, bool privileged)
    {
        JsonElement profile = own.Has("seccompProfile") ? own.Get("seccompProfile") : pod.Get("seccompProfile");
        SecurityProfile result = new() { ProfileType = SecurityProfile.Types.ProfileType.Unconfined };
        switch (privileged ? "" : profile.Text("type"))
        {
            case "RuntimeDefault":
                result.ProfileType = SecurityProfile.Types.ProfileType.RuntimeDefault;
                break;
            case "Localhost":
                result.ProfileType = SecurityProfile.Types.ProfileType.Localhost;
                result.LocalhostRef = Path.Combine("/var/lib/kubelet/seccomp", profile.Text("localhostProfile"));
                break;
        }

        return result;
    }
}
