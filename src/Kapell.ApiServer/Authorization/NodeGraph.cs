using System.Collections.Immutable;
using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authorization;

/// <summary>What the pods bound to each node refer to, kept up to date by a watch on pods (upstream: plugin/pkg/auth/authorizer/node/graph.go).</summary>
internal sealed class NodeGraph
{
    private readonly Lock _writing = new();
    private volatile State _state = new(
        ImmutableDictionary.Create<string, ImmutableDictionary<ObjectKey, HashSet<Reference>>>(StringComparer.Ordinal),
        ImmutableDictionary<ObjectKey, string>.Empty);

    public void Set(KubeObject pod)
    {
        lock (_writing)
        {
            string node = pod.Spec.Text("nodeName");
            State state = _state;
            bool known = state.NodeOf.TryGetValue(pod.Key, out string? before);
            if (known && before != node)
            {
                state = state.Without(pod.Key);
            }

            // A finished pod needs nothing any more (upstream: graph populator drops terminated pods).
            bool done = pod.Status.Text("phase") is "Succeeded" or "Failed";
            _state = node.Length == 0 || done ? state.Without(pod.Key) : state.With(node, pod.Key, ReferencesOf(pod));
        }
    }

    public void Remove(ObjectKey pod)
    {
        lock (_writing)
        {
            _state = _state.Without(pod);
        }
    }

    /// <param name="kind">secrets, configmaps, persistentvolumeclaims, serviceaccounts, resourceclaims.</param>
    public bool Refers(string node, string kind, string space, string name)
    {
        Reference wanted = new(kind, name);
        return _state.Nodes.TryGetValue(node, out ImmutableDictionary<ObjectKey, HashSet<Reference>>? pods)
            && pods.Any(p => p.Key.Namespace == space && p.Value.Contains(wanted));
    }

    public bool RunsPod(string node, ObjectKey pod) => _state.NodeOf.GetValueOrDefault(pod) == node;

    private static HashSet<Reference> ReferencesOf(KubeObject pod)
    {
        HashSet<Reference> found = [];
        JsonElement spec = pod.Spec;
        string account = spec.Text("serviceAccountName");
        Add(found, "serviceaccounts", account.Length == 0 ? "default" : account);
        foreach (JsonElement pull in spec.Items("imagePullSecrets"))
        {
            Add(found, "secrets", pull.Text("name"));
        }

        foreach (string list in (string[])["initContainers", "containers", "ephemeralContainers"])
        {
            foreach (JsonElement container in spec.Items(list))
            {
                AddContainer(found, container);
            }
        }

        foreach (JsonElement volume in spec.Items("volumes"))
        {
            AddVolume(found, volume, pod.Name);
        }

        foreach (JsonElement claim in pod.Status.Items("resourceClaimStatuses"))
        {
            Add(found, "resourceclaims", claim.Text("resourceClaimName"));
        }

        return found;
    }

    private static void AddContainer(HashSet<Reference> found, JsonElement container)
    {
        foreach (JsonElement from in container.Items("envFrom"))
        {
            Add(found, "secrets", from.Get("secretRef").Text("name"));
            Add(found, "configmaps", from.Get("configMapRef").Text("name"));
        }

        foreach (JsonElement env in container.Items("env"))
        {
            Add(found, "secrets", env.Get("valueFrom", "secretKeyRef").Text("name"));
            Add(found, "configmaps", env.Get("valueFrom", "configMapKeyRef").Text("name"));
        }
    }

    private static void AddVolume(HashSet<Reference> found, JsonElement volume, string podName)
    {
        Add(found, "secrets", volume.Get("secret").Text("secretName"));
        Add(found, "configmaps", volume.Get("configMap").Text("name"));
        Add(found, "persistentvolumeclaims", volume.Get("persistentVolumeClaim").Text("claimName"));
        if (volume.Has("ephemeral"))
        {
            Add(found, "persistentvolumeclaims", podName + "-" + volume.Text("name"));
        }

        foreach (JsonElement source in volume.Get("projected").Items("sources"))
        {
            Add(found, "secrets", source.Get("secret").Text("name"));
            Add(found, "configmaps", source.Get("configMap").Text("name"));
        }

        foreach (string driver in (string[])["csi", "flexVolume", "rbd", "cephfs", "iscsi", "scaleIO", "storageos"])
        {
            Add(found, "secrets", volume.Get(driver, "secretRef").Text("name"));
            Add(found, "secrets", volume.Get(driver, "nodePublishSecretRef").Text("name"));
        }
    }

    private static void Add(HashSet<Reference> found, string kind, string name)
    {
        if (name.Length > 0)
        {
            found.Add(new Reference(kind, name));
        }
    }

    private readonly record struct Reference(string Kind, string Name);

    private sealed record State(
        ImmutableDictionary<string, ImmutableDictionary<ObjectKey, HashSet<Reference>>> Nodes, ImmutableDictionary<ObjectKey, string> NodeOf)
    {
        public State With(string node, ObjectKey pod, HashSet<Reference> references)
        {
            ImmutableDictionary<ObjectKey, HashSet<Reference>> pods =
                Nodes.GetValueOrDefault(node, ImmutableDictionary<ObjectKey, HashSet<Reference>>.Empty);
            return new State(Nodes.SetItem(node, pods.SetItem(pod, references)), NodeOf.SetItem(pod, node));
        }

        public State Without(ObjectKey pod)
        {
            if (!NodeOf.TryGetValue(pod, out string? node))
            {
                return this;
            }

            ImmutableDictionary<ObjectKey, HashSet<Reference>> pods = Nodes[node].Remove(pod);
            return new State(pods.IsEmpty ? Nodes.Remove(node) : Nodes.SetItem(node, pods), NodeOf.Remove(pod));
        }
    }
}
