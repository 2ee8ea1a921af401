using Kapell.Client;
using Kapell.Kubelet.Node;
using Kapell.Kubelet.Probing;
using Kapell.Kubelet.Runtime;
using Kapell.Kubelet.Volumes;
using Microsoft.Extensions.Logging;

namespace Kapell.Kubelet.Pods;

/// <summary>What all pod workers share.</summary>
internal sealed record PodServices
{
    public required KubeletOptions Options { get; init; }

    public required KubeClient? Client { get; init; }

    public required RuntimeReader Reader { get; init; }

    public required PodRuntime Runtime { get; init; }

    public required VolumeManager Volumes { get; init; }

    public required ProbeManager Probes { get; init; }

    public required StatusManager Statuses { get; init; }

    public required ICgroups Cgroups { get; init; }

    public required KubeletEvents Events { get; init; }

    public required MachineInfo Machine { get; init; }

    /// <summary>What pods may use of the node, by resource name.</summary>
    public required Func<string, decimal> Allocatable { get; init; }

    /// <summary>Pods that were let in and whose containers may run; set once, before the first worker starts.</summary>
    public Func<IEnumerable<Pod>> Admitted { get; set; } = () => [];

    /// <summary>Held while a pod is let in: the next one must see it.</summary>
    public Lock Admission { get; } = new();

    public required TimeProvider Time { get; init; }

    public required ILogger Logger { get; init; }
}
