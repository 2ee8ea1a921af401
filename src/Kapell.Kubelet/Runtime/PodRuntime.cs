using System.Globalization;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Kubelet.Cri;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Node;
using Kapell.Kubelet.Pods;
using Kapell.Kubelet.Probing;
using Kapell.Kubelet.Volumes;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Kubelet.Runtime;

/// <summary>Carries out single steps on the runtime: make a sandbox, start or stop a container, take a pod down.</summary>
internal sealed class PodRuntime(
    CriClient cri, RuntimeReader reader, ImagePuller images, EnvironmentBuilder environment, VolumeManager volumes, Handlers handlers,
    KubeletEvents events, KubeletOptions options, MachineInfo machine, TimeProvider time, ILogger log)
{
    private static readonly TimeSpan GraceMin = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan StopSlack = TimeSpan.FromSeconds(60);

    public PodSandboxConfig SandboxConfig(Pod pod, uint attempt) =>
        SandboxConfigs.For(pod, attempt, options, CgroupPaths.ForPod(options.CgroupRoot, pod), File.Exists(options.ResolvConf) ? File.ReadAllText(options.ResolvConf) : "");

    public async Task<string> CreateSandboxAsync(Pod pod, PodSandboxConfig config, CancellationToken cancellation)
    {
        Directory.CreateDirectory(config.LogDirectory);
        try
        {
            RunPodSandboxRequest request = new() { Config = config, RuntimeHandler = RuntimeHandler(pod) };
            return (await cri.Runtime.RunPodSandboxAsync(request, cancellationToken: cancellation)).PodSandboxId;
        }
        catch (RpcException e) when (!cancellation.IsCancellationRequested)
        {
            string text = CriClient.Text(e);
            events.Warning(pod, "FailedCreatePodSandBox", "Failed to create pod sandbox: " + text);
            throw new StartException("CreatePodSandboxError", $"Failed to create sandbox for pod \"{pod.FullName}\": {text}");
        }
    }

    /// <exception cref="StartException">With the reason that the container's Waiting state shows.</exception>
    public async Task StartContainerAsync(
        Pod pod, ContainerSpec spec, RuntimePod runtime, string sandboxId, PodSandboxConfig sandbox, IReadOnlyList<string> podIps,
        IReadOnlyDictionary<string, string> volumePaths, CancellationToken cancellation)
    {
        Image image = await images.EnsureAsync(pod, spec, sandbox, cancellation);
        int attempt = runtime.Latest(spec.Name) is { } last ? last.RestartCount + 1 : 0;
        ContainerConfig config;
        try
        {
            config = await ConfigAsync(pod, spec, runtime, image, attempt, podIps, volumePaths, cancellation);
        }
        catch (StartException e)
        {
            events.Warning(pod, "Failed", "Error: " + e.Message, spec);
            throw;
        }

        Directory.CreateDirectory(Path.Combine(sandbox.LogDirectory, spec.Name));
        string id = await CallAsync(pod, spec, "CreateContainerError", async () => (await cri.Runtime.CreateContainerAsync(
            new CreateContainerRequest { PodSandboxId = sandboxId, Config = config, SandboxConfig = sandbox }, cancellationToken: cancellation)).ContainerId, cancellation);
        events.Normal(pod, "Created", $"Created container: {spec.Name}", spec);
        await CallAsync(pod, spec, "RunContainerError", async () =>
        {
            await cri.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = id }, cancellationToken: cancellation);
            return id;
        }, cancellation);
        events.Normal(pod, "Started", $"Started container {spec.Name}", spec);
        await PostStartAsync(pod, spec, id, podIps, cancellation);
    }

    /// <summary>preStop, then the stop signal, then after the grace period the kill; the hook's time counts.</summary>
    public async Task KillContainerAsync(
        Pod? pod, ContainerInfo container, ContainerSpec? spec, TimeSpan grace, string message, IReadOnlyList<string> podIps, CancellationToken cancellation)
    {
        if (pod is not null && spec is not null && message.Length > 0)
        {
            events.Normal(pod, "Killing", message, spec);
        }

        JsonElement preStop = spec?.Json.Get("lifecycle", "preStop") ?? default;
        TimeSpan left = grace;
        if (pod is not null && preStop.ValueKind == JsonValueKind.Object && grace > TimeSpan.Zero && container.State == RunState.Running)
        {
            long begun = time.GetTimestamp();
            HandlerResult result = await handlers.RunAsync(preStop, spec!, container.Id, podIps.Count > 0 ? podIps[0] : "", grace, cancellation);
            if (!result.Success)
            {
                events.Warning(pod, "FailedPreStopHook", "PreStopHook failed", spec);
            }

            left = grace - time.GetElapsedTime(begun);
            left = left < GraceMin ? GraceMin : left;
        }

        await StopContainerAsync(container.Id, left, cancellation);
    }

    public async Task StopContainerAsync(string id, TimeSpan grace, CancellationToken cancellation)
    {
        StopContainerRequest request = new() { ContainerId = id, Timeout = (long)Math.Ceiling(grace.TotalSeconds) };
        try
        {
            await cri.Runtime.StopContainerAsync(request, deadline: (time.GetUtcNow() + grace + StopSlack).UtcDateTime, cancellationToken: cancellation);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            // It is gone, which is what was wanted.
        }
    }

    /// <summary>
    /// Stops all containers at once, then the sidecars from the last to the first within the same grace period, then the sandboxes. What
    /// is stopped already stays as it is. // KEP-753: sidecars serve the others until these have ended.
    /// </summary>
    public async Task KillPodAsync(Pod? pod, RuntimePod runtime, TimeSpan grace, CancellationToken cancellation)
    {
        IReadOnlyList<string> ips = runtime.ReadySandbox?.Ips ?? [];
        long begun = time.GetTimestamp();
        ContainerInfo[] alive = [.. runtime.Containers.Where(c => c.State != RunState.Exited)];
        string[] sidecars = [.. pod?.InitContainers.Where(c => c.IsSidecar).Select(c => c.Name).Reverse() ?? []];
        await Task.WhenAll(alive.Where(c => !sidecars.Contains(c.Name)).Select(c =>
            KillContainerAsync(pod, c, pod?.Find(c.Name), grace, $"Stopping container {c.Name}", ips, cancellation)));
        foreach (ContainerInfo sidecar in alive.Where(c => sidecars.Contains(c.Name)).OrderBy(c => Array.IndexOf(sidecars, c.Name)))
        {
            TimeSpan left = grace - time.GetElapsedTime(begun);
            left = grace == TimeSpan.Zero || left > GraceMin ? left : GraceMin;
            await KillContainerAsync(
                pod, sidecar, pod?.Find(sidecar.Name), left > TimeSpan.Zero ? left : TimeSpan.Zero, $"Stopping container {sidecar.Name}", ips, cancellation);
        }

        foreach (SandboxInfo sandbox in runtime.Sandboxes)
        {
            await cri.Runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = sandbox.Id }, cancellationToken: cancellation);
        }
    }

    /// <summary>Removes dead containers beyond the newest dead one of each name, with their logs, and sandboxes that hold nothing.</summary>
    public async Task CollectAsync(RuntimePod runtime, bool everything, CancellationToken cancellation)
    {
        HashSet<string> used = [];
        foreach (IGrouping<string, ContainerInfo> group in runtime.Containers.GroupBy(c => c.Name))
        {
            // The newest is the current one, running or dead; one dead before it is kept for "logs --previous".
            List<ContainerInfo> dead = [.. group.Where(c => c.State == RunState.Exited)];
            int keep = everything ? 0 : group.First().State == RunState.Exited ? 2 : 1;
            foreach (ContainerInfo old in dead.Skip(keep))
            {
                await RemoveContainerAsync(old.Id, cancellation);
                if (old.LogPath.Length > 0 && !everything)
                {
                    LogFiles.Remove(old.LogPath);
                }
            }

            used.UnionWith(group.Except(dead.Skip(keep)).Select(c => c.SandboxId));
        }

        foreach (SandboxInfo sandbox in runtime.Sandboxes.Where((s, i) => everything || (i > 1 && !s.Ready)))
        {
            await cri.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = sandbox.Id }, cancellationToken: cancellation);
        }
    }

    public async Task RemoveContainerAsync(string id, CancellationToken cancellation)
    {
        await cri.Runtime.RemoveContainerAsync(new RemoveContainerRequest { ContainerId = id }, cancellationToken: cancellation);
        reader.Forget(id);
    }

    private static string RuntimeHandler(Pod pod) =>
        // A RuntimeClass's handler; the usual classes are named after theirs.
        pod.Spec.Text("runtimeClassName");

    private async Task<string> CallAsync(Pod pod, ContainerSpec spec, string reason, Func<Task<string>> call, CancellationToken cancellation)
    {
        try
        {
            return await call();
        }
        catch (RpcException e) when (!cancellation.IsCancellationRequested)
        {
            events.Warning(pod, "Failed", "Error: " + e.Status.Detail, spec);
            throw new StartException(reason, e.Status.Detail);
        }
    }

    private async Task PostStartAsync(Pod pod, ContainerSpec spec, string id, IReadOnlyList<string> podIps, CancellationToken cancellation)
    {
        JsonElement hook = spec.Json.Get("lifecycle", "postStart");
        if (hook.ValueKind != JsonValueKind.Object)
        {
            return;
        }

        HandlerResult result = await handlers.RunAsync(hook, spec, id, podIps.Count > 0 ? podIps[0] : "", TimeSpan.FromHours(1), cancellation);
        if (!result.Success)
        {
            Log.TaskFailed(log, "postStart hook of " + spec.Name, result.Output);
            events.Warning(pod, "FailedPostStartHook", "PostStartHook failed", spec);
            events.Normal(pod, "Killing", "FailedPostStartHook", spec);
            await StopContainerAsync(id, TimeSpan.FromSeconds(pod.GracePeriodSeconds), cancellation);
            throw new StartException("PostStartHookError", "PostStartHook failed");
        }
    }

    private async Task<ContainerConfig> ConfigAsync(
        Pod pod, ContainerSpec spec, RuntimePod runtime, Image image, int attempt, IReadOnlyList<string> podIps,
        IReadOnlyDictionary<string, string> volumePaths, CancellationToken cancellation)
    {
        IReadOnlyDictionary<string, string> variables = await environment.BuildAsync(pod, spec, podIps, cancellation);
        ContainerConfig config = new()
        {
            Metadata = new ContainerMetadata { Name = spec.Name, Attempt = (uint)attempt },
            Image = new ImageSpec { Image = image.Id, UserSpecifiedImage = spec.Image }, WorkingDir = spec.Json.Text("workingDir"),
            LogPath = $"{spec.Name}/{attempt.ToString(CultureInfo.InvariantCulture)}.log", Stdin = spec.Json.Bool("stdin"),
            StdinOnce = spec.Json.Bool("stdinOnce"), Tty = spec.Json.Bool("tty"),
        };
        config.Command.AddRange(spec.Json.Items("command").Select(c => Expansion.Expand(c.GetString() ?? "", variables)));
        config.Args.AddRange(spec.Json.Items("args").Select(c => Expansion.Expand(c.GetString() ?? "", variables)));
        config.Envs.AddRange(variables.Select(v => new KeyValue { Key = v.Key, Value = ByteString.CopyFromUtf8(v.Value) }));
        config.Mounts.AddRange(volumes.Mounts(pod, spec, volumePaths, variables));
        AddOwnMounts(pod, spec, attempt, podIps, config);
        config.Labels[RuntimeLabels.PodName] = pod.Name;
        config.Labels[RuntimeLabels.PodNamespace] = pod.Namespace;
        config.Labels[RuntimeLabels.PodUid] = pod.Uid;
        config.Labels[RuntimeLabels.ContainerName] = spec.Name;
        config.Annotations[RuntimeLabels.Hash] = spec.Hash;
        config.Annotations[RuntimeLabels.RestartCount] = attempt.ToString(CultureInfo.InvariantCulture);
        config.Annotations[RuntimeLabels.TerminationMessagePath] = spec.TerminationMessagePath;
        config.Annotations[RuntimeLabels.TerminationMessagePolicy] = spec.TerminationMessageFromLogs ? "FallbackToLogsOnError" : "File";
        config.Annotations[RuntimeLabels.GracePeriod] = pod.GracePeriodSeconds.ToString(CultureInfo.InvariantCulture);
        string target = spec.Kind == ContainerKind.Ephemeral && spec.Json.Text("targetContainerName") is { Length: > 0 } name
            ? runtime.Latest(name)?.Id ?? throw new StartException("CreateContainerConfigError", $"unable to find target container {name}")
            : "";
        config.Linux = new LinuxContainerConfig
        {
            Resources = ResourceSettings.For(pod, spec, machine.MemoryBytes, machine.OomScoreMin),
            SecurityContext = SecuritySettings.For(pod, spec, image, target),
        };
        return config;
    }

    private void AddOwnMounts(Pod pod, ContainerSpec spec, int attempt, IReadOnlyList<string> podIps, ContainerConfig config)
    {
        string folder = options.PodDir(pod.Uid);
        if (config.Mounts.All(m => m.ContainerPath != "/etc/hosts"))
        {
            string hosts = Path.Combine(folder, "etc-hosts");
            Directory.CreateDirectory(folder);
            File.WriteAllText(hosts, HostsFile.For(pod, podIps, options));
            config.Mounts.Add(new Mount { ContainerPath = "/etc/hosts", HostPath = hosts });
        }

        string message = RuntimeReader.TerminationFile(options, pod.Uid, spec.Name, attempt);
        Directory.CreateDirectory(Path.GetDirectoryName(message)!);
        File.WriteAllBytes(message, []);
        File.SetUnixFileMode(message, (UnixFileMode)0x1B6); // 0666: the container may run as anybody.
        config.Mounts.Add(new Mount { ContainerPath = spec.TerminationMessagePath, HostPath = message });
    }
}

/// <summary>The hosts file a pod's containers share. // Kubernetes: kubelet_pods.go managedHostsFileContent</summary>
internal static class HostsFile
{
    public static string For(Pod pod, IReadOnlyList<string> podIps, KubeletOptions options)
    {
        StringBuilder text = new();
        if (pod.HostNetwork)
        {
            text.Append("# Kubernetes-managed hosts file (host network).\n").Append(File.Exists("/etc/hosts") ? File.ReadAllText("/etc/hosts") : "");
        }
        else
        {
            text.Append("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
            text.Append("fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
            string fqdn = SandboxConfigs.Fqdn(pod, options);
            foreach (string ip in podIps)
            {
                text.Append(ip).Append('\t').Append(fqdn.Length > 0 ? fqdn + "\t" : "").Append(SandboxConfigs.Hostname(pod)).Append('\n');
            }
        }

        JsonElement[] aliases = [.. pod.Spec.Items("hostAliases")];
        if (aliases.Length > 0)
        {
            text.Append("\n# Entries added by HostAliases.\n");
            foreach (JsonElement alias in aliases)
            {
                text.Append(alias.Text("ip")).Append('\t').AppendJoin('\t', alias.Items("hostnames").Select(h => h.GetString())).Append('\n');
            }
        }

        return text.ToString();
    }
}

/// <summary>A container's log file and its rotated brothers.</summary>
internal static class LogFiles
{
    public static void Remove(string path)
    {
        string? folder = Path.GetDirectoryName(path);
        if (folder is null || !Directory.Exists(folder))
        {
            return;
        }

        foreach (string file in Directory.EnumerateFiles(folder, Path.GetFileName(path) + "*"))
        {
            File.Delete(file);
        }
    }
}
