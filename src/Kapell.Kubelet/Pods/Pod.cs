using System.Globalization;
using System.Text;
using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.Kubelet.Pods;

/// <summary>Which of a pod's three container lists a container stands in.</summary>
internal enum ContainerKind
{
    Init,
    Regular,
    Ephemeral,
}

/// <summary>One container of a pod's specification.</summary>
internal sealed class ContainerSpec
{
    public ContainerSpec(JsonElement json, ContainerKind kind)
    {
        Json = json;
        Kind = kind;
        Name = json.Text("name");
        Image = json.Text("image");
        // KEP-753: an init container that restarts always is a sidecar.
        IsSidecar = kind == ContainerKind.Init && json.Text("restartPolicy") == "Always";
        Hash = HashOf(Name, Image);
    }

    public JsonElement Json { get; }

    public ContainerKind Kind { get; }

    public string Name { get; }

    public string Image { get; }

    public bool IsSidecar { get; }

    /// <summary>Changes when the running container no longer is what the pod asks for: only name and image can change in place.</summary>
    public string Hash { get; }

    public JsonElement SecurityContext => Json.Get("securityContext");

    public string TerminationMessagePath => Json.Text("terminationMessagePath") is { Length: > 0 } path ? path : "/dev/termination-log";

    public bool TerminationMessageFromLogs => Json.Text("terminationMessagePolicy") == "FallbackToLogsOnError";

    /// <summary>Upstream's rule: Always for <c>:latest</c> or no tag, else IfNotPresent (the API server normally has filled it in).</summary>
    public string ImagePullPolicy => Json.Text("imagePullPolicy") is { Length: > 0 } policy ? policy
        : Runtime.ImageName.TagOf(Image) is "latest" ? "Always" : "IfNotPresent";

    private static string HashOf(string name, string image)
    {
        uint hash = 2166136261;
        foreach (byte b in Encoding.UTF8.GetBytes(name + "\0" + image))
        {
            hash = unchecked((hash ^ b) * 16777619);
        }

        return hash.ToString("x", CultureInfo.InvariantCulture);
    }
}

/// <summary>A pod as the kubelet reads it: the document and the few fields that every decision needs, read once.</summary>
internal sealed class Pod
{
    public const string StaticSource = "file";
    private const string ConfigSource = "kubernetes.io/config.source";
    private const string ConfigMirror = "kubernetes.io/config.mirror";

    public Pod(KubeObject source)
    {
        Object = source;
        Spec = source.Spec;
        InitContainers = [.. Spec.Items("initContainers").Select(c => new ContainerSpec(c, ContainerKind.Init))];
        Containers = [.. Spec.Items("containers").Select(c => new ContainerSpec(c, ContainerKind.Regular))];
        EphemeralContainers = [.. Spec.Items("ephemeralContainers").Select(c => new ContainerSpec(c, ContainerKind.Ephemeral))];
        RestartPolicy = Spec.Text("restartPolicy") is { Length: > 0 } policy ? policy : "Always";
    }

    public KubeObject Object { get; }

    public JsonElement Spec { get; }

    public string Uid => Object.Uid;

    public string Name => Object.Name;

    public string Namespace => Object.Namespace;

    /// <summary>Upstream's <c>format.Pod</c>: how logs and messages name a pod.</summary>
    public string FullName => $"{Name}_{Namespace}({Uid})";

    public IReadOnlyList<ContainerSpec> InitContainers { get; }

    public IReadOnlyList<ContainerSpec> Containers { get; }

    public IReadOnlyList<ContainerSpec> EphemeralContainers { get; }

    public IEnumerable<ContainerSpec> AllContainers => InitContainers.Concat(Containers).Concat(EphemeralContainers);

    public string RestartPolicy { get; }

    public bool HostNetwork => Spec.Bool("hostNetwork");

    public bool ShareProcessNamespace => Spec.Bool("shareProcessNamespace");

    public bool IsDeleting => Object.IsDeleting;

    public bool IsStatic => Object.Annotations.TryGetValue(ConfigSource, out string? source) && source == StaticSource;

    public bool IsMirror => Object.Annotations.ContainsKey(ConfigMirror);

    public bool IsTerminal => Object.Status.Text("phase") is "Succeeded" or "Failed";

    public long GracePeriodSeconds => Object.Metadata.Has("deletionGracePeriodSeconds")
        ? Object.Metadata.Long("deletionGracePeriodSeconds")
        : Spec.Long("terminationGracePeriodSeconds", 30);

    public QosClass Qos => QosClasses.Of(this);

    public ContainerSpec? Find(string container) => AllContainers.FirstOrDefault(c => c.Name == container);
}
