using System.Collections.Concurrent;
using System.Text.Json;
using Kapell.Kubelet.Pods;
using Kapell.Kubelet.Runtime;
using Kapell.Machinery;

namespace Kapell.Kubelet.Probing;

/// <summary>One task for each probe of each running container; keeps the verdicts and calls back when one changes.</summary>
internal sealed class ProbeManager(Handlers handlers, KubeletEvents events, TimeProvider time)
{
    private readonly ConcurrentDictionary<string, ContainerProbes> _containers = new(StringComparer.Ordinal);

    public ProbeVerdicts Verdicts(string containerId) => _containers.TryGetValue(containerId, out ContainerProbes? probes) ? probes.Verdicts : ProbeVerdicts.None;

    /// <summary>Starts probing a running container; a second call for the same container changes nothing.</summary>
    /// <param name="readyBefore">The container was ready when an earlier kubelet saw it last: it stays so until a probe says otherwise.</param>
    public void Ensure(Pod pod, ContainerSpec spec, ContainerInfo info, string podIp, bool readyBefore, Action changed)
    {
        (ProbeKind Kind, string Field)[] kinds =
            [(ProbeKind.Startup, "startupProbe"), (ProbeKind.Liveness, "livenessProbe"), (ProbeKind.Readiness, "readinessProbe")];
        if (_containers.ContainsKey(info.Id) || !kinds.Any(k => spec.Json.Has(k.Field)))
        {
            return;
        }

        ContainerProbes probes = new(spec.Json.Has("startupProbe"), readyBefore);
        if (!_containers.TryAdd(info.Id, probes))
        {
            return;
        }

        foreach ((ProbeKind kind, string field) in kinds)
        {
            if (spec.Json.Has(field))
            {
                probes.Tasks.Add(RunAsync(pod, spec, info, podIp, spec.Json.Get(field), kind, probes, changed));
            }
        }
    }

    /// <summary>Stops probing containers that no longer run.</summary>
    public async Task StopAsync(IEnumerable<string> containerIds)
    {
        foreach (string id in containerIds)
        {
            if (_containers.TryRemove(id, out ContainerProbes? probes))
            {
                await probes.Stop.CancelAsync();
                await Task.WhenAll(probes.Tasks);
                probes.Stop.Dispose();
            }
        }
    }

    public Task StopAllAsync() => StopAsync([.. _containers.Keys]);

    private async Task RunAsync(
        Pod pod, ContainerSpec spec, ContainerInfo info, string podIp, JsonElement probe, ProbeKind kind, ContainerProbes probes, Action changed)
    {
        CancellationToken stop = probes.Stop.Token;
        TimeSpan period = Seconds(probe, "periodSeconds", 10);
        TimeSpan timeout = Seconds(probe, "timeoutSeconds", 1);
        ProbeCounter counter = new((int)Math.Max(1, probe.Long("successThreshold", 1)), (int)Math.Max(1, probe.Long("failureThreshold", 3)));
        try
        {
            TimeSpan early = info.StartedAt + TimeSpan.FromSeconds(probe.Long("initialDelaySeconds")) - time.GetUtcNow();
            if (early > TimeSpan.Zero)
            {
                await Task.Delay(early, time, stop);
            }

            if (kind != ProbeKind.Startup)
            {
                await probes.Started.WaitAsync(stop);
            }

            while (true)
            {
                HandlerResult result = await handlers.RunAsync(probe, spec, info.Id, podIp, timeout, stop);
                if (!result.Success)
                {
                    events.Warning(pod, "Unhealthy", $"{kind} probe failed: {result.Output}", spec);
                }

                if (counter.Add(result.Success) is { } verdict && probes.Set(kind, verdict))
                {
                    changed();
                }

                // A started container needs no startup probe; one that failed startup or liveness is killed and comes back under a new id.
                if ((kind == ProbeKind.Startup && probes.Verdicts.Started is not null) || (kind == ProbeKind.Liveness && probes.Verdicts.Live == false))
                {
                    return;
                }

                await Task.Delay(period, time, stop);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The container ended.
        }
    }

    private static TimeSpan Seconds(JsonElement probe, string field, long absent) =>
        TimeSpan.FromSeconds(Math.Clamp(probe.Long(field, absent) is var n && n == 0 ? absent : probe.Long(field, absent), 1, 86_400));

    private sealed class ContainerProbes(bool hasStartup, bool readyBefore)
    {
        private readonly Lock _lock = new();
        private readonly TaskCompletionSource _started = hasStartup ? new(TaskCreationOptions.RunContinuationsAsynchronously) : Done();
        private ProbeVerdicts _verdicts = new(null, null, readyBefore ? true : null);

        public CancellationTokenSource Stop { get; } = new();

        public List<Task> Tasks { get; } = [];

        public Task Started => _started.Task;

        public ProbeVerdicts Verdicts
        {
            get
            {
                lock (_lock)
                {
                    return _verdicts;
                }
            }
        }

        public bool Set(ProbeKind kind, bool verdict)
        {
            lock (_lock)
            {
                ProbeVerdicts before = _verdicts;
                _verdicts = kind switch
                {
                    ProbeKind.Startup => before with { Started = verdict },
                    ProbeKind.Liveness => before with { Live = verdict },
                    _ => before with { Ready = verdict },
                };
                if (kind == ProbeKind.Startup && verdict)
                {
                    _started.TrySetResult();
                }

                return _verdicts != before;
            }
        }

        private static TaskCompletionSource Done()
        {
            TaskCompletionSource done = new();
            done.SetResult();
            return done;
        }
    }
}
