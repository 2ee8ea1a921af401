using Kapell.Client.Events;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Kubelet.Runtime;

/// <summary>Events about pods, their containers and the node. Without an API server (static pods only) they go to the log.</summary>
internal sealed class KubeletEvents(EventRecorder? recorder, string nodeName, ILogger log)
{
    public void Normal(Pod pod, string reason, string message, ContainerSpec? container = null) => Send(pod, "Normal", reason, message, container);

    public void Warning(Pod pod, string reason, string message, ContainerSpec? container = null) => Send(pod, "Warning", reason, message, container);

    public void Node(string type, string reason, string message)
    {
        Log.NodeEvent(log, type, reason, message);
        // Kubernetes: kubelet.go: the node's events carry its name as uid.
        recorder?.Record(new ObjectReference("v1", "Node", "", nodeName, nodeName), type, reason, message);
    }

    private void Send(Pod pod, string type, string reason, string message, ContainerSpec? container)
    {
        Log.PodEvent(log, pod.Namespace, pod.Name, type, reason, message);
        if (!pod.IsStatic)
        {
            string list = container?.Kind switch
            {
                ContainerKind.Init => "initContainers",
                ContainerKind.Ephemeral => "ephemeralContainers",
                _ => "containers",
            };
            string field = container is null ? "" : $"spec.{list}{{{container.Name}}}";
            recorder?.Record(ObjectReference.To(pod.Object, field), type, reason, message);
        }
    }
}
