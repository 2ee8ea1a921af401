namespace Kapell.Kubelet.Pods;

/// <summary>What the runtime says a container is doing.</summary>
internal enum RunState
{
    Created,
    Running,
    Exited,
    Unknown,
}

/// <summary>One sandbox of a pod. <see cref="Ips"/> is empty on the host's network.</summary>
internal sealed record SandboxInfo
{
    public required string Id { get; init; }

    public bool Ready { get; init; }

    public uint Attempt { get; init; }

    public DateTimeOffset CreatedAt { get; init; }

    public IReadOnlyList<string> Ips { get; init; } = [];

    public bool HostNetwork { get; init; }
}

/// <summary>One container, running or dead, as the runtime reports it.</summary>
internal sealed record ContainerInfo
{
    public required string Id { get; init; }

    public required string Name { get; init; }

    public string SandboxId { get; init; } = "";

    public RunState State { get; init; }

    public DateTimeOffset CreatedAt { get; init; }

    public DateTimeOffset StartedAt { get; init; }

    public DateTimeOffset FinishedAt { get; init; }

    public int ExitCode { get; init; }

    public string Reason { get; init; } = "";

    public string Message { get; init; } = "";

    public string Image { get; init; } = "";

    public string ImageId { get; init; } = "";

    public string Hash { get; init; } = "";

    public int RestartCount { get; init; }

    public string LogPath { get; init; } = "";
}

/// <summary>Everything the runtime knows of one pod; both lists newest first.</summary>
internal sealed record RuntimePod
{
    public static readonly RuntimePod Nothing = new();

    public IReadOnlyList<SandboxInfo> Sandboxes { get; init; } = [];

    public IReadOnlyList<ContainerInfo> Containers { get; init; } = [];

    public SandboxInfo? ReadySandbox => Sandboxes.FirstOrDefault(s => s.Ready);

    public bool AnyAlive => Sandboxes.Any(s => s.Ready) || Containers.Any(c => c.State is RunState.Running or RunState.Created or RunState.Unknown);

    /// <summary>The newest container of that name.</summary>
    public ContainerInfo? Latest(string name) => Containers.FirstOrDefault(c => c.Name == name);

    /// <summary>The newest container of that name that has ended, other than the newest of all.</summary>
    public ContainerInfo? Previous(string name) => Containers.Where(c => c.Name == name).Skip(1).FirstOrDefault(c => c.State == RunState.Exited);
}
