using System.Text.Json;
using Grpc.Core;
using Kapell.Client;
using Kapell.Kubelet.Cri;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Runtime;
using Kapell.Kubelet.Volumes;
using Kapell.Machinery;

namespace Kapell.Kubelet.Pods;

/// <summary>
/// Owns one pod, by uid: brings the runtime to what the pod asks for, step by step, whenever it is woken; takes the pod down when it
/// is deleted, gone, or over. All of a pod's actions happen in this one loop. // Kubernetes: pkg/kubelet/pod_workers.go
/// </summary>
internal sealed class PodWorker
{
    private static readonly TimeSpan ResyncEvery = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan VolumesEvery = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan RetryMin = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan RetryMax = TimeSpan.FromSeconds(30);
    private readonly PodServices _services;
    private readonly SemaphoreSlim _wake = new(1);
    private readonly Lock _lock = new();
    private readonly Dictionary<string, StartError> _errors = new(StringComparer.Ordinal);
    private readonly BackOff _backOff = BackOff.ForContainers();
    private readonly DateTimeOffset _firstSeen;
    private Pod _pod; // under _lock
    private bool _removed; // under _lock
    private CancellationTokenSource? _syncing; // under _lock
    private TimeSpan? _stoppingWith; // under _lock
    private Task _hurry = Task.CompletedTask; // under _lock
    private string? _eviction; // under _lock
    private (string Phase, string Reason, string Message)? _imposed;
    private DateTimeOffset _volumesAt;
    private bool _admitted;
    private IReadOnlyDictionary<string, string> _volumePaths = new Dictionary<string, string>();
    private DateTimeOffset? _nextTry;

    public PodWorker(PodServices services, Pod pod)
    {
        _services = services;
        _pod = pod;
        _firstSeen = services.Time.GetUtcNow();
    }

    public Pod Pod
    {
        get
        {
            lock (_lock)
            {
                return _pod;
            }
        }
    }

    public bool IsFinished { get; private set; }

    /// <summary>Let in, and its containers may still run: what it asked for is not free.</summary>
    public bool HoldsRoom { get; private set; }

    public void Update(Pod pod)
    {
        bool matters;
        lock (_lock)
        {
            matters = Differs(_pod, pod);
            _pod = pod;
            if (matters)
            {
                Interrupt(pod.IsDeleting, TimeSpan.FromSeconds(pod.GracePeriodSeconds));
            }
        }

        if (matters)
        {
            Wake();
        }
    }

    /// <summary>The pod is not at the API server (or among the static pods) any more.</summary>
    public void Remove()
    {
        lock (_lock)
        {
            _removed = true;
            Interrupt(true, _pod.IsDeleting ? TimeSpan.FromSeconds(1) : TimeSpan.FromSeconds(_pod.GracePeriodSeconds));
        }

        Wake();
    }

    /// <summary>Ends the pod for good; what it is told first counts.</summary>
    public void Evict(string message)
    {
        lock (_lock)
        {
            _eviction ??= message;
        }

        Wake();
    }

    public void Wake()
    {
        try
        {
            _wake.Release();
        }
        catch (SemaphoreFullException)
        {
            // A wake-up is pending already.
        }
    }

    public async Task RunAsync(CancellationToken stopping)
    {
        TimeSpan retry = RetryMin;
        while (!stopping.IsCancellationRequested && !IsFinished)
        {
            try
            {
                TimeSpan wait = _nextTry is { } at ? at - _services.Time.GetUtcNow() : ResyncEvery;
                wait = wait < TimeSpan.Zero ? TimeSpan.Zero : wait < ResyncEvery ? wait : ResyncEvery;
                await WaitAsync(wait, stopping);
                _nextTry = null;
                await StepAsync(stopping);
                retry = RetryMin;
            }
            catch (OperationCanceledException) when (!stopping.IsCancellationRequested)
            {
                Wake(); // Interrupted by a deletion: look again at once.
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Cancelled && !stopping.IsCancellationRequested)
            {
                Wake();
            }
            catch (Exception e) when (e is RpcException or StatusException or HttpRequestException or TimeoutException or IOException or UnauthorizedAccessException)
            {
                if (stopping.IsCancellationRequested)
                {
                    return;
                }

                Log.StepFailed(_services.Logger, Pod.FullName, retry.TotalSeconds, e.Message);
                Retry(retry);
                retry = retry * 2 < RetryMax ? retry * 2 : RetryMax;
            }
        }
    }

    private async Task WaitAsync(TimeSpan wait, CancellationToken stopping)
    {
        using CancellationTokenSource timer = new(wait, _services.Time);
        using CancellationTokenSource both = CancellationTokenSource.CreateLinkedTokenSource(stopping, timer.Token);
        try
        {
            await _wake.WaitAsync(both.Token);
        }
        catch (OperationCanceledException) when (!stopping.IsCancellationRequested)
        {
            // The timer: a step is due.
        }
    }

    // Our own status comes back by the watch and must not wake us. // Kubernetes: pkg/kubelet/config podsDifferSemantically
    private static bool Differs(Pod before, Pod after)
    {
        if (after.IsTerminal != before.IsTerminal || after.IsDeleting != before.IsDeleting || after.GracePeriodSeconds != before.GracePeriodSeconds
            || after.Spec.Has("readinessGates"))
        {
            return true;
        }

        return !JsonElement.DeepEquals(before.Spec, after.Spec)
            || !Same(before.Object.Labels, after.Object.Labels) || !Same(before.Object.Annotations, after.Object.Annotations);
    }

    private static bool Same(IReadOnlyDictionary<string, string> a, IReadOnlyDictionary<string, string> b) =>
        a.Count == b.Count && a.All(p => b.TryGetValue(p.Key, out string? value) && value == p.Value);

    private void Retry(TimeSpan after)
    {
        DateTimeOffset at = _services.Time.GetUtcNow() + after;
        _nextTry = _nextTry is { } before && before < at ? before : at;
    }

    // Called under _lock. A deletion stops a pull or a start that is under way; a shorter grace period overtakes a stop under way.
    private void Interrupt(bool ending, TimeSpan grace)
    {
        if (!ending)
        {
            return;
        }

        _syncing?.Cancel();
        if (_stoppingWith is { } current && grace < current)
        {
            _stoppingWith = grace;
            _hurry = HurryAsync(_hurry, grace);
        }
    }

    private async Task HurryAsync(Task before, TimeSpan grace)
    {
        await before;
        try
        {
            RuntimePod runtime = await _services.Reader.PodAsync(Pod.Uid, CancellationToken.None);
            await Task.WhenAll(runtime.Containers.Where(c => c.State != RunState.Exited)
                .Select(c => _services.Runtime.StopContainerAsync(c.Id, grace, CancellationToken.None)));
        }
        catch (RpcException e)
        {
            Log.TaskFailed(_services.Logger, "stopping " + Pod.FullName + " sooner", e.Message);
        }
    }

    private async Task StepAsync(CancellationToken stopping)
    {
        Pod pod;
        bool removed;
        string? eviction;
        lock (_lock)
        {
            (pod, removed, eviction) = (_pod, _removed, _eviction);
        }

        if (eviction is not null && _imposed is null && !pod.IsDeleting && !pod.IsTerminal)
        {
            _services.Events.Warning(pod, "Evicted", eviction);
            _imposed = ("Failed", "Evicted", eviction);
        }

        if (removed || pod.IsDeleting || _imposed is not null || pod.IsTerminal)
        {
            await TerminateAsync(pod, removed, stopping);
            return;
        }

        using CancellationTokenSource syncing = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        lock (_lock)
        {
            _syncing = syncing;
            if (_removed || _pod.IsDeleting)
            {
                syncing.Cancel();
            }
        }

        try
        {
            await SyncAsync(pod, syncing.Token);
        }
        finally
        {
            lock (_lock)
            {
                _syncing = null;
            }
        }
    }

    private async Task SyncAsync(Pod pod, CancellationToken cancellation)
    {
        RuntimePod runtime = await _services.Reader.PodAsync(pod.Uid, cancellation);
        if (Refused(pod, runtime))
        {
            await TerminateAsync(pod, removed: false, cancellation);
            return;
        }

        await ProbeAsync(pod, runtime);
        PodActions actions = PodPlanner.Plan(pod, runtime, _services.Probes.Verdicts);
        Report(pod, runtime);
        if (actions.KillPod && runtime.AnyAlive)
        {
            await _services.Runtime.KillPodAsync(pod, runtime, TimeSpan.FromSeconds(pod.GracePeriodSeconds), cancellation);
            runtime = await _services.Reader.PodAsync(pod.Uid, cancellation);
        }

        if (actions.KillPod && !actions.CreateSandbox)
        {
            Report(pod, runtime);
            return;
        }

        IReadOnlyList<string> ips = runtime.ReadySandbox?.Ips ?? [];
        foreach (KillPlan kill in actions.ToKill)
        {
            await _services.Runtime.KillContainerAsync(pod, kill.Container, kill.Spec, Grace(pod, kill), kill.Message, ips, cancellation);
        }

        bool starting = actions.CreateSandbox || actions.InitToStart.Count + actions.ToStart.Count + actions.EphemeralToStart.Count > 0;
        if (!await VolumesAsync(pod, ips, starting, cancellation) || !starting)
        {
            await FinishAsync(pod, runtime, actions.ToKill.Count > 0, cancellation);
            return;
        }

        await StartAsync(pod, runtime, actions, cancellation);
        await FinishAsync(pod, runtime, true, cancellation);
    }

    private async Task StartAsync(Pod pod, RuntimePod runtime, PodActions actions, CancellationToken cancellation)
    {
        _services.Cgroups.Ensure(CgroupPaths.ForPod(_services.Options.CgroupRoot, pod), ResourceSettings.ForPod(pod));
        PodSandboxConfig config = _services.Runtime.SandboxConfig(pod, actions.Attempt);
        string sandbox = actions.SandboxId;
        if (actions.CreateSandbox)
        {
            try
            {
                sandbox = await _services.Runtime.CreateSandboxAsync(pod, config, cancellation);
            }
            catch (StartException)
            {
                Retry(TimeSpan.FromSeconds(10));
                return;
            }
        }

        runtime = await _services.Reader.PodAsync(pod.Uid, cancellation);
        IReadOnlyList<string> ips = pod.HostNetwork ? _services.Options.NodeIps : runtime.ReadySandbox?.Ips ?? [];
        foreach (ContainerSpec spec in actions.EphemeralToStart.Concat(actions.InitToStart).Concat(actions.ToStart))
        {
            await StartOneAsync(pod, spec, runtime, sandbox, config, ips, cancellation);
        }
    }

    private async Task StartOneAsync(
        Pod pod, ContainerSpec spec, RuntimePod runtime, string sandbox, PodSandboxConfig config, IReadOnlyList<string> ips, CancellationToken cancellation)
    {
        DateTimeOffset now = _services.Time.GetUtcNow();
        string key = $"{spec.Name}_{spec.Hash}";
        if (runtime.Containers.FirstOrDefault(c => c.Name == spec.Name && c.State == RunState.Exited) is { } ended)
        {
            if (_backOff.IsInBackOffSince(key, ended.FinishedAt, now))
            {
                string wait = Kapell.Base.GoDuration.Format(_backOff.Get(key));
                _services.Events.Warning(pod, "BackOff", $"Back-off restarting failed container {spec.Name} in pod {pod.FullName}", spec);
                _errors[spec.Name] = new StartError("CrashLoopBackOff", $"back-off {wait} restarting failed container={spec.Name} pod={pod.FullName}");
                Retry(_backOff.EndsAt(key, ended.FinishedAt) - now + TimeSpan.FromMilliseconds(50));
                return;
            }

            _backOff.Next(key, ended.FinishedAt, now);
        }

        try
        {
            await _services.Runtime.StartContainerAsync(pod, spec, runtime, sandbox, config, ips, _volumePaths, cancellation);
            _errors.Remove(spec.Name);
        }
        catch (StartException e)
        {
            if (e.Reason is "ErrImagePull" or "ImagePullBackOff" or "ErrImageNeverPull" or "InvalidImageName")
            {
                _services.Events.Warning(pod, "Failed", "Error: " + e.Reason, spec);
            }

            _errors[spec.Name] = new StartError(e.Reason, e.Message);
            Retry(TimeSpan.FromSeconds(10));
        }
    }

    private async Task FinishAsync(Pod pod, RuntimePod runtime, bool changed, CancellationToken cancellation)
    {
        if (changed)
        {
            runtime = await _services.Reader.PodAsync(pod.Uid, cancellation);
            await ProbeAsync(pod, runtime);
        }

        Report(pod, runtime);
        await _services.Runtime.CollectAsync(runtime, everything: false, cancellation);
        // Init containers follow one another, and ordinary ones the last of them: do not wait for the next relist.
        if (changed && pod.InitContainers.Count > 0)
        {
            Retry(TimeSpan.FromMilliseconds(200));
        }

        ScheduleDeadline(pod);
    }

    private async Task<bool> VolumesAsync(Pod pod, IReadOnlyList<string> ips, bool starting, CancellationToken cancellation)
    {
        DateTimeOffset now = _services.Time.GetUtcNow();
        if (!starting && now - _volumesAt < VolumesEvery)
        {
            return true;
        }

        try
        {
            _volumePaths = await _services.Volumes.SetUpAsync(pod, ips, cancellation);
            _volumesAt = now;
            return true;
        }
        catch (VolumeException e)
        {
            _services.Events.Warning(pod, "FailedMount", e.Message);
            Retry(TimeSpan.FromSeconds(2));
            return false;
        }
    }

    private static TimeSpan Grace(Pod pod, KillPlan kill)
    {
        // A probe may carry its own grace period. // KEP-2238
        long seconds = kill.Spec?.Json.Get("livenessProbe").Has("terminationGracePeriodSeconds") == true && kill.Reason == "Unhealthy"
            ? kill.Spec.Json.Get("livenessProbe").Long("terminationGracePeriodSeconds")
            : pod.GracePeriodSeconds;
        return TimeSpan.FromSeconds(seconds);
    }

    private bool Refused(Pod pod, RuntimePod runtime)
    {
        if (_admitted || runtime.Sandboxes.Count > 0)
        {
            HoldsRoom |= !_admitted;
            _admitted = true;
            return Overdue(pod);
        }

        _admitted = true;
        (string Reason, string Message)? refusal;
        lock (_services.Admission)
        {
            refusal = PodAdmission.Refuse(pod, _services.Options.AllowedUnsafeSysctls)
                ?? PodAdmission.RefuseForRoom(pod, [.. _services.Admitted().Where(p => p.Uid != pod.Uid)], _services.Allocatable, _services.Options.MaxPods);
            HoldsRoom = refusal is null;
        }

        if (refusal is not (string reason, string message))
        {
            return Overdue(pod);
        }

        _services.Events.Warning(pod, reason, message);
        _imposed = ("Failed", reason, "Pod was rejected: " + message);
        return true;
    }

    // Kubernetes: pkg/kubelet/active_deadline.go
    private bool Overdue(Pod pod)
    {
        if (DeadlineOf(pod) is not { } deadline || _services.Time.GetUtcNow() < deadline)
        {
            return false;
        }

        const string Message = "Pod was active on the node longer than the specified deadline";
        _services.Events.Normal(pod, "DeadlineExceeded", Message);
        _imposed = ("Failed", "DeadlineExceeded", Message);
        return true;
    }

    private DateTimeOffset? DeadlineOf(Pod pod)
    {
        if (!pod.Spec.Has("activeDeadlineSeconds"))
        {
            return null;
        }

        bool known = DateTimeOffset.TryParse(_services.Statuses.Latest(pod).Text("startTime"), out DateTimeOffset start);
        return (known ? start : _firstSeen) + TimeSpan.FromSeconds(pod.Spec.Long("activeDeadlineSeconds"));
    }

    private void ScheduleDeadline(Pod pod)
    {
        if (DeadlineOf(pod) is { } deadline)
        {
            Retry(deadline - _services.Time.GetUtcNow() + TimeSpan.FromMilliseconds(50));
        }
    }

    private async Task ProbeAsync(Pod pod, RuntimePod runtime)
    {
        await _services.Probes.StopAsync(runtime.Containers.Where(c => c.State != RunState.Running).Select(c => c.Id));
        string ip = pod.HostNetwork ? _services.Options.NodeIps.FirstOrDefault("127.0.0.1") : runtime.ReadySandbox?.Ips.FirstOrDefault("") ?? "";
        foreach (ContainerInfo info in runtime.Containers.Where(c => c.State == RunState.Running))
        {
            if (pod.Find(info.Name) is { } spec && ip.Length > 0)
            {
                bool ready = pod.Object.Status.Items("containerStatuses")
                    .Any(s => s.Bool("ready") && s.Text("containerID").EndsWith(info.Id, StringComparison.Ordinal));
                _services.Probes.Ensure(pod, spec, info, ip, ready, Wake);
            }
        }
    }

    private void Report(Pod pod, RuntimePod runtime, bool terminated = false)
    {
        StatusInputs inputs = new()
        {
            Runtime = runtime, Verdicts = _services.Probes.Verdicts, Errors = _errors, HostIps = _services.Options.NodeIps, Now = _services.Time.GetUtcNow(),
            StartedAt = _firstSeen, Terminated = terminated, Imposed = _imposed, Previous = _services.Statuses.Latest(pod),
        };
        _services.Statuses.Set(pod, PodStatusBuilder.Build(pod, inputs));
    }

    private async Task TerminateAsync(Pod pod, bool removed, CancellationToken stopping)
    {
        RuntimePod runtime = await _services.Reader.PodAsync(pod.Uid, stopping);
        if (runtime.AnyAlive)
        {
            Report(pod, runtime);
            TimeSpan grace = TimeSpan.FromSeconds(removed && pod.IsDeleting ? 1 : pod.GracePeriodSeconds);
            lock (_lock)
            {
                _stoppingWith = grace;
            }

            try
            {
                await _services.Runtime.KillPodAsync(pod, runtime, grace, stopping);
            }
            finally
            {
                Task hurry;
                lock (_lock)
                {
                    _stoppingWith = null;
                    hurry = _hurry;
                }

                await hurry;
            }

            runtime = await _services.Reader.PodAsync(pod.Uid, stopping);
            if (runtime.AnyAlive)
            {
                Retry(RetryMin);
                return;
            }
        }

        HoldsRoom = false;
        await _services.Probes.StopAsync(runtime.Containers.Select(c => c.Id));
        Report(pod, runtime, terminated: pod.IsDeleting || _imposed is not null);
        _services.Volumes.TearDown(pod.Uid);
        bool empty = CgroupPaths.AllFor(_services.Options.CgroupRoot, pod.Uid).Aggregate(true, (done, path) => _services.Cgroups.Remove(path) && done);
        if (removed)
        {
            await CleanUpAsync(pod, runtime, stopping);
            return;
        }

        await _services.Statuses.FlushAsync(pod.Uid, stopping);
        if (pod.IsDeleting && !pod.IsStatic && _services.Client is { } client)
        {
            try
            {
                await client.DeleteAsync(
                    Resources.Pods, pod.Object.Key, new DeleteOptions { GracePeriodSeconds = 0, PreconditionUid = pod.Uid }, stopping);
            }
            catch (StatusException e) when (e.IsNotFound || e.IsConflict)
            {
                // Somebody was faster.
            }
        }

        if (!empty)
        {
            Retry(RetryMin);
        }
    }

    private async Task CleanUpAsync(Pod pod, RuntimePod runtime, CancellationToken stopping)
    {
        await _services.Runtime.CollectAsync(runtime, everything: true, stopping);
        string logs = _services.Options.PodLogDir(pod.Namespace, pod.Name, pod.Uid);
        if (Directory.Exists(logs))
        {
            Directory.Delete(logs, recursive: true);
        }

        _services.Statuses.Forget(pod.Uid);
        IsFinished = true;
    }
}
