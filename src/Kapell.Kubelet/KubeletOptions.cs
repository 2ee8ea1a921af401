namespace Kapell.Kubelet;

/// <summary>What the flags ask for, read once.</summary>
internal sealed record KubeletOptions
{
    public required string NodeName { get; init; }

    public IReadOnlyList<string> NodeIps { get; init; } = [];

    public required string RootDir { get; init; }

    public required string PodLogsDir { get; init; }

    public required string RuntimeEndpoint { get; init; }

    public string CgroupRoot { get; init; } = "";

    public IReadOnlyList<string> ClusterDns { get; init; } = [];

    public string ClusterDomain { get; init; } = "cluster.local";

    public string ResolvConf { get; init; } = "/etc/resolv.conf";

    public string Address { get; init; } = "0.0.0.0";

    public int Port { get; init; } = 10250;

    public int MaxPods { get; init; } = 110;

    public string TlsCertFile { get; init; } = "";

    public string TlsKeyFile { get; init; } = "";

    public string ClientCaFile { get; init; } = "";

    public bool AnonymousAuth { get; init; }

    public string AuthorizationMode { get; init; } = "Webhook";

    public bool RegisterNode { get; init; } = true;

    public IReadOnlyDictionary<string, string> NodeLabels { get; init; } = new Dictionary<string, string>();

    public IReadOnlyList<(string Key, string Value, string Effect)> Taints { get; init; } = [];

    public IReadOnlyDictionary<string, decimal> Reserved { get; init; } = new Dictionary<string, decimal>();

    public IReadOnlyList<string> AllowedUnsafeSysctls { get; init; } = [];

    public string StaticPodDir { get; init; } = "";

    public string InfraImage { get; init; } = "";

    public TimeSpan LeaseInterval { get; init; } = TimeSpan.FromSeconds(10);

    public long ContainerLogBytesMax { get; init; } = 10 * 1024 * 1024;

    public int ContainerLogFilesMax { get; init; } = 5;

    public int RegistryPullMax { get; init; } = 4;

    public string PodDir(string uid) => Path.Combine(RootDir, "pods", uid);

    /// <summary>Upstream's name of a pod's log folder. // Kubernetes: kuberuntime BuildPodLogsDirectory</summary>
    public string PodLogDir(string ns, string name, string uid) => Path.Combine(PodLogsDir, $"{ns}_{name}_{uid}");
}
