using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Google.Protobuf.Collections;
using Grpc.Core;
using Kapell.Kubelet.Cri;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Pods;

namespace Kapell.Kubelet.Runtime;

/// <summary>Labels and annotations by which upstream's kubelet finds its containers again; kept so that either kubelet adopts the other's.</summary>
internal static class RuntimeLabels
{
    public const string PodName = "io.kubernetes.pod.name";
    public const string PodNamespace = "io.kubernetes.pod.namespace";
    public const string PodUid = "io.kubernetes.pod.uid";
    public const string ContainerName = "io.kubernetes.container.name";
    public const string Hash = "io.kubernetes.container.hash";
    public const string RestartCount = "io.kubernetes.container.restartCount";
    public const string TerminationMessagePath = "io.kubernetes.container.terminationMessagePath";
    public const string TerminationMessagePolicy = "io.kubernetes.container.terminationMessagePolicy";
    public const string PreStop = "io.kubernetes.container.preStopHandler";
    public const string GracePeriod = "io.kubernetes.pod.terminationGracePeriod";
    public const string ConfigSource = "kubernetes.io/config.source";
}

/// <summary>One pod as a list of the whole runtime shows it: whose it is, and a text that changes when anything in it does.</summary>
internal sealed record RuntimeEntry(string Uid, string Name, string Namespace, string Fingerprint, bool AnyAlive);

/// <summary>Reads pods out of the runtime. Dead containers do not change, so their details are asked for once.</summary>
internal sealed class RuntimeReader(CriClient cri, KubeletOptions options)
{
    private const int TerminationMessageBytesMax = 4096;
    private readonly ConcurrentDictionary<string, ContainerInfo> _dead = new(StringComparer.Ordinal);

    public async Task<RuntimePod> PodAsync(string uid, CancellationToken cancellation)
    {
        ListPodSandboxRequest sandboxes = new() { Filter = new PodSandboxFilter() };
        sandboxes.Filter.LabelSelector[RuntimeLabels.PodUid] = uid;
        ListContainersRequest containers = new() { Filter = new ContainerFilter() };
        containers.Filter.LabelSelector[RuntimeLabels.PodUid] = uid;
        Task<ListPodSandboxResponse> sandboxList = cri.Runtime.ListPodSandboxAsync(sandboxes, cancellationToken: cancellation).ResponseAsync;
        ListContainersResponse containerList = await cri.Runtime.ListContainersAsync(containers, cancellationToken: cancellation);
        SandboxInfo?[] boxes = await Task.WhenAll((await sandboxList).Items.Select(s => SandboxAsync(s, cancellation)));
        ContainerInfo?[] infos = await Task.WhenAll(containerList.Containers.Select(c => ContainerAsync(c.Id, cancellation)));
        return new RuntimePod
        {
            Sandboxes = [.. boxes.OfType<SandboxInfo>().OrderByDescending(s => s.CreatedAt)],
            Containers = [.. infos.OfType<ContainerInfo>().OrderByDescending(c => c.CreatedAt)],
        };
    }

    /// <summary>Everything the runtime holds that carries a pod's uid.</summary>
    public async Task<IReadOnlyDictionary<string, RuntimeEntry>> AllAsync(CancellationToken cancellation)
    {
        ListPodSandboxResponse sandboxes = await cri.Runtime.ListPodSandboxAsync(new ListPodSandboxRequest(), cancellationToken: cancellation);
        ListContainersResponse containers = await cri.Runtime.ListContainersAsync(new ListContainersRequest(), cancellationToken: cancellation);
        Dictionary<string, (MapField<string, string> Labels, List<string> Parts, bool Alive)> pods = new(StringComparer.Ordinal);
        void Add(MapField<string, string> labels, string part, bool alive)
        {
            if (!labels.TryGetValue(RuntimeLabels.PodUid, out string? uid))
            {
                return;
            }

            (MapField<string, string> kept, List<string> parts, bool before) = pods.TryGetValue(uid, out var entry) ? entry : (labels, [], false);
            parts.Add(part);
            pods[uid] = (kept, parts, alive || before);
        }

        foreach (PodSandbox s in sandboxes.Items)
        {
            Add(s.Labels, $"{s.Id}={s.State}", s.State == PodSandboxState.SandboxReady);
        }

        foreach (Container c in containers.Containers)
        {
            Add(c.Labels, $"{c.Id}={c.State}", c.State != Cri.V1.ContainerState.ContainerExited);
        }

        return pods.ToDictionary(p => p.Key, p =>
        {
            p.Value.Parts.Sort(StringComparer.Ordinal);
            string name = p.Value.Labels.GetValueOrDefault(RuntimeLabels.PodName, "");
            string ns = p.Value.Labels.GetValueOrDefault(RuntimeLabels.PodNamespace, "");
            return new RuntimeEntry(p.Key, name, ns, string.Join(';', p.Value.Parts), p.Value.Alive);
        }, StringComparer.Ordinal);
    }

    public void Forget(string containerId) => _dead.TryRemove(containerId, out _);

    private async Task<SandboxInfo?> SandboxAsync(PodSandbox sandbox, CancellationToken cancellation)
    {
        try
        {
            PodSandboxStatus status = (await cri.Runtime.PodSandboxStatusAsync(
                new PodSandboxStatusRequest { PodSandboxId = sandbox.Id }, cancellationToken: cancellation)).Status;
            string ip = status.Network?.Ip ?? "";
            return new SandboxInfo
            {
                Id = status.Id, Ready = status.State == PodSandboxState.SandboxReady, Attempt = status.Metadata.Attempt, CreatedAt = FromNanos(status.CreatedAt),
                Ips = ip.Length == 0 ? [] : [ip, .. status.Network!.AdditionalIps.Select(a => a.Ip)],
                HostNetwork = status.Linux?.Namespaces?.Options?.Network == NamespaceMode.Node,
            };
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            return null;
        }
    }

    private async Task<ContainerInfo?> ContainerAsync(string id, CancellationToken cancellation)
    {
        if (_dead.TryGetValue(id, out ContainerInfo? known))
        {
            return known;
        }

        try
        {
            ContainerStatus s = (await cri.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = id }, cancellationToken: cancellation)).Status;
            ContainerInfo info = Read(s);
            if (info.State == RunState.Exited)
            {
                info = info with { Message = TerminationMessage(s, info) };
                _dead[id] = info;
            }

            return info;
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            return null;
        }
    }

    private static ContainerInfo Read(ContainerStatus s) => new()
    {
        Id = s.Id, Name = s.Labels.GetValueOrDefault(RuntimeLabels.ContainerName, s.Metadata.Name),
        State = s.State switch
        {
            Cri.V1.ContainerState.ContainerCreated => RunState.Created,
            Cri.V1.ContainerState.ContainerRunning => RunState.Running,
            Cri.V1.ContainerState.ContainerExited => RunState.Exited,
            _ => RunState.Unknown,
        },
        CreatedAt = FromNanos(s.CreatedAt), StartedAt = FromNanos(s.StartedAt), FinishedAt = FromNanos(s.FinishedAt), ExitCode = s.ExitCode,
        Reason = s.Reason, Message = s.Message, Image = s.Image?.Image ?? "", ImageId = s.ImageRef, LogPath = s.LogPath,
        Hash = s.Annotations.GetValueOrDefault(RuntimeLabels.Hash, ""),
        RestartCount = int.TryParse(s.Annotations.GetValueOrDefault(RuntimeLabels.RestartCount, ""), NumberStyles.None, CultureInfo.InvariantCulture, out int n)
            ? n
            : (int)s.Metadata.Attempt,
    };

    // Kubernetes: kuberuntime getTerminationMessage: the file first; the log's end when the file is empty, the policy says so and it failed.
    private string TerminationMessage(ContainerStatus s, ContainerInfo info)
    {
        string uid = s.Labels.GetValueOrDefault(RuntimeLabels.PodUid, "");
        string path = TerminationFile(options, uid, info.Name, info.RestartCount);
        string text = File.Exists(path) ? Head(path, TerminationMessageBytesMax) : "";
        bool fromLog = s.Annotations.GetValueOrDefault(RuntimeLabels.TerminationMessagePolicy, "") == "FallbackToLogsOnError";
        if (text.Length == 0 && fromLog && (info.ExitCode != 0 || info.Reason == "OOMKilled") && File.Exists(info.LogPath))
        {
            text = ContainerLogTail.Read(info.LogPath, lines: 80, bytes: 2048);
        }

        return info.Message.Length == 0 ? text : text.Length == 0 ? info.Message : info.Message + ": " + text;
    }

    public static string TerminationFile(KubeletOptions options, string uid, string container, int attempt) =>
        Path.Combine(options.PodDir(uid), "containers", container, $"termination-{attempt}");

    private static string Head(string path, int bytes)
    {
        byte[] buffer = new byte[bytes];
        using FileStream file = File.OpenRead(path);
        return Encoding.UTF8.GetString(buffer, 0, file.ReadAtLeast(buffer, bytes, throwOnEndOfStream: false));
    }

    private static DateTimeOffset FromNanos(long nanos) => nanos <= 0 ? default : DateTimeOffset.UnixEpoch.AddTicks(nanos / 100);
}
