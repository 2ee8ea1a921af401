namespace Kapell.Kubelet.Pods;

/// <summary>What the probes say of a container now. Null is "no verdict yet".</summary>
internal readonly record struct ProbeVerdicts(bool? Live, bool? Started, bool? Ready)
{
    public static readonly ProbeVerdicts None;
}

/// <summary>One container to stop, and the words the event uses.</summary>
internal sealed record KillPlan(ContainerInfo Container, ContainerSpec? Spec, string Message, string Reason);

/// <summary>What the next step for a pod is; nothing in it means the pod is as it should be.</summary>
internal sealed record PodActions
{
    public bool KillPod { get; init; }

    public bool CreateSandbox { get; init; }

    public string SandboxId { get; init; } = "";

    public uint Attempt { get; init; }

    public IReadOnlyList<ContainerSpec> InitToStart { get; init; } = [];

    public IReadOnlyList<ContainerSpec> ToStart { get; init; } = [];

    public IReadOnlyList<ContainerSpec> EphemeralToStart { get; init; } = [];

    public IReadOnlyList<KillPlan> ToKill { get; init; } = [];
}

/// <summary>
/// Compares what a pod asks for with what the runtime has. A function of its arguments.
/// // Kubernetes: pkg/kubelet/kuberuntime computePodActions
/// </summary>
internal static class PodPlanner
{
    public static PodActions Plan(Pod pod, RuntimePod runtime, Func<string, ProbeVerdicts> verdicts)
    {
        (bool changed, uint attempt, string sandbox) = SandboxChange(pod, runtime);
        return changed ? PlanNewSandbox(pod, runtime, attempt, sandbox) : PlanInSandbox(pod, runtime, verdicts, attempt, sandbox);
    }

    /// <summary>Whether a container that is not running is to run again.</summary>
    public static bool ShouldRestart(Pod pod, ContainerSpec spec, RuntimePod runtime)
    {
        if (pod.IsDeleting)
        {
            return false;
        }

        ContainerInfo? last = runtime.Latest(spec.Name);
        return last?.State switch
        {
            null => true,
            RunState.Running => false,
            RunState.Unknown or RunState.Created => true,
            _ when spec.IsSidecar => true,
            _ => pod.RestartPolicy switch
            {
                "Never" => false,
                "OnFailure" => last.ExitCode != 0,
                _ => true,
            },
        };
    }

    /// <summary>Whether all init containers have done their part: ordinary ones ended well, sidecars started.</summary>
    public static bool IsInitialized(Pod pod, RuntimePod runtime, Func<string, ProbeVerdicts> verdicts)
    {
        // Once an ordinary container exists, initialization is behind it, even if the init containers were collected.
        if (pod.Containers.Any(c => runtime.Latest(c.Name) is not null))
        {
            return true;
        }

        foreach (ContainerSpec init in pod.InitContainers)
        {
            ContainerInfo? info = runtime.Latest(init.Name);
            bool done = init.IsSidecar
                ? info is { State: RunState.Running } && IsStarted(init, info, verdicts)
                : info is { State: RunState.Exited, ExitCode: 0 };
            if (!done)
            {
                return false;
            }
        }

        return true;
    }

    private static (bool Changed, uint Attempt, string Id) SandboxChange(Pod pod, RuntimePod runtime)
    {
        SandboxInfo? newest = runtime.Sandboxes.Count > 0 ? runtime.Sandboxes[0] : null;
        if (newest is null)
        {
            return (true, 0, "");
        }

        int ready = runtime.Sandboxes.Count(s => s.Ready);
        bool good = newest.Ready && ready == 1 && newest.HostNetwork == pod.HostNetwork && (pod.HostNetwork || newest.Ips.Count > 0);
        return good ? (false, newest.Attempt, newest.Id) : (true, newest.Attempt + 1, newest.Id);
    }

    private static PodActions PlanNewSandbox(Pod pod, RuntimePod runtime, uint attempt, string sandbox)
    {
        PodActions actions = new() { KillPod = true, CreateSandbox = true, SandboxId = sandbox, Attempt = attempt };
        // A pod that never restarts and has already run stays dead when its sandbox dies.
        if (pod.RestartPolicy == "Never" && attempt != 0 && runtime.Containers.Count > 0)
        {
            return actions with { CreateSandbox = false };
        }

        List<ContainerSpec> start =
        [
            .. pod.Containers.Where(c => !(pod.RestartPolicy == "OnFailure" && runtime.Latest(c.Name) is { State: RunState.Exited, ExitCode: 0 })),
        ];
        if (start.Count == 0)
        {
            return actions with { CreateSandbox = false };
        }

        return pod.InitContainers.Count > 0
            ? actions with { InitToStart = [pod.InitContainers[0]] }
            : actions with { ToStart = start };
    }

    private static PodActions PlanInSandbox(Pod pod, RuntimePod runtime, Func<string, ProbeVerdicts> verdicts, uint attempt, string sandbox)
    {
        PodActions actions = new()
        {
            Attempt = attempt, SandboxId = sandbox,
            EphemeralToStart = [.. pod.EphemeralContainers.Where(c => runtime.Latest(c.Name) is null)],
        };
        List<KillPlan> kill = [];
        bool initialized = PlanInit(pod, runtime, verdicts, kill, out IReadOnlyList<ContainerSpec> initStart, out bool failed);
        if (failed)
        {
            return actions with { KillPod = true, EphemeralToStart = [] };
        }

        actions = actions with { InitToStart = initStart, ToKill = kill };
        if (!initialized)
        {
            return actions;
        }

        int kept = 0;
        List<ContainerSpec> start = [];
        foreach (ContainerSpec spec in pod.Containers)
        {
            ContainerInfo? info = runtime.Latest(spec.Name);
            if (info is not { State: RunState.Running })
            {
                if (ShouldRestart(pod, spec, runtime))
                {
                    start.Add(spec);
                    AddUnknown(info, spec, kill);
                }

                continue;
            }

            (string? why, bool restart) = KillReason(pod, spec, info, verdicts);
            if (why is null)
            {
                kept++;
                continue;
            }

            kill.Add(new KillPlan(info, spec, restart ? why + ", will be restarted" : why, "Unhealthy"));
            if (restart)
            {
                start.Add(spec);
            }
        }

        bool finished = kept == 0 && start.Count == 0;
        return finished ? actions with { KillPod = true, InitToStart = [], EphemeralToStart = [] } : actions with { ToStart = start };
    }

    // Init containers run one after another; sidecars among them keep running and are restarted on their own.
    private static bool PlanInit(
        Pod pod, RuntimePod runtime, Func<string, ProbeVerdicts> verdicts, List<KillPlan> kill, out IReadOnlyList<ContainerSpec> start, out bool failed)
    {
        bool initialized = IsInitialized(pod, runtime, verdicts);
        List<ContainerSpec> next = [];
        start = next;
        failed = false;
        foreach (ContainerSpec init in pod.InitContainers)
        {
            ContainerInfo? info = runtime.Latest(init.Name);
            if (init.IsSidecar)
            {
                if (info is not { State: RunState.Running })
                {
                    next.Add(init);
                    AddUnknown(info, init, kill);
                }
                else if (KillReason(pod, init, info, verdicts) is (string why, _))
                {
                    kill.Add(new KillPlan(info, init, why + ", will be restarted", "Unhealthy"));
                    next.Add(init);
                }

                if (!initialized && (next.Count > 0 || !IsStarted(init, info!, verdicts)))
                {
                    return false;
                }

                continue;
            }

            if (initialized || info is { State: RunState.Exited, ExitCode: 0 })
            {
                continue;
            }

            if (info is { State: RunState.Running })
            {
                return false;
            }

            failed = info is { State: RunState.Exited } && pod.RestartPolicy == "Never";
            if (!failed)
            {
                next.Add(init);
                AddUnknown(info, init, kill);
            }

            return false;
        }

        return true;
    }

    private static void AddUnknown(ContainerInfo? info, ContainerSpec spec, List<KillPlan> kill)
    {
        if (info is { State: RunState.Unknown })
        {
            kill.Add(new KillPlan(info, spec, $"Container is in \"unknown\" state, try killing it before restart", "Unknown"));
        }
    }

    private static bool IsStarted(ContainerSpec spec, ContainerInfo info, Func<string, ProbeVerdicts> verdicts) =>
        spec.Json.TryGetProperty("startupProbe", out _) ? verdicts(info.Id).Started == true : true;

    private static (string? Why, bool Restart) KillReason(Pod pod, ContainerSpec spec, ContainerInfo info, Func<string, ProbeVerdicts> verdicts)
    {
        if (info.Hash.Length > 0 && info.Hash != spec.Hash)
        {
            return ($"Container {spec.Name} definition changed", true);
        }

        bool mayRestart = pod.RestartPolicy != "Never" || spec.IsSidecar;
        ProbeVerdicts verdict = verdicts(info.Id);
        return verdict switch
        {
            { Live: false } => ($"Container {spec.Name} failed liveness probe", mayRestart),
            { Started: false } => ($"Container {spec.Name} failed startup probe", mayRestart),
            _ => (null, false),
        };
    }
}
