using Grpc.Core;
using Kapell.Base;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Kubelet.Cri;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Node;
using Kapell.Kubelet.Pods;
using Kapell.Kubelet.Probing;
using Kapell.Kubelet.Runtime;
using Kapell.Kubelet.Server;
using Kapell.Kubelet.Volumes;
using Microsoft.Extensions.Logging;

namespace Kapell.Kubelet;

/// <summary>The kubelet as a command: flags in, runs until told to stop, exit code out. Containers outlive it.</summary>
public static class KubeletCommand
{
    public static async Task<int> RunAsync(
        IReadOnlyList<string> args, TimeProvider time, ulong seed, ILoggerFactory logs, TextWriter output, CancellationToken stopping)
    {
        KubeletFlags flags = new();
        try
        {
            KubeletOptions options = flags.Parse(args);
            if (flags.HelpWanted)
            {
                await output.WriteAsync(flags.Help());
                return 0;
            }

            RestConfig? api = flags.Kubeconfig.Value.Length > 0 ? Kubeconfig.LoadRestConfig(flags.Kubeconfig.Value) : null;
            await RunAsync(options, api, time, new Prng(seed), logs, stopping);
            return 0;
        }
        catch (FlagException e)
        {
            await output.WriteLineAsync($"kubelet: {e.Message}; see kubelet --help");
        }
        catch (Exception e) when (e is KubeconfigException or KubeletStartException or IOException or UnauthorizedAccessException)
        {
            await output.WriteLineAsync("kubelet: " + e.Message);
        }

        return 1;
    }

    private static async Task RunAsync(
        KubeletOptions options, RestConfig? api, TimeProvider time, Prng random, ILoggerFactory logs, CancellationToken stopping)
    {
        ILogger log = logs.CreateLogger("Kapell.Kubelet");
        Directory.CreateDirectory(Path.Combine(options.RootDir, "pods"));
        Directory.CreateDirectory(options.PodLogsDir);
        using CriClient cri = new(options.RuntimeEndpoint);
        VersionResponse version = await ConnectAsync(cri, time, stopping);
        MachineInfo machine = MachineInfo.Read(options.RootDir);
        using KubeClient? client = api is null ? null : new KubeClient(api.WithUserAgent("kubelet/v1.35.0 (linux/amd64)"), time, logs);
        EventRecorder? recorder = client is null ? null : new EventRecorder(client, "kubelet", options.NodeName, time, log);
        KubeletEvents events = new(recorder, options.NodeName, log);
        Informer? pods = client is null ? null : new Informer(
            client, Resources.Pods, new InformerOptions { FieldSelector = "spec.nodeName=" + options.NodeName }, time, random.Split(), log);
        Informer? services = client is null ? null : new Informer(client, Resources.Services, InformerOptions.Everything, time, random.Split(), log);
        IObjectSource objects = client is null ? new NoObjects() : new ApiObjectSource(client, services!, time);
        decimal Allocatable(string name) => NodeObject.Allocatable(options, machine, name);
        RuntimeReader reader = new(cri, options);
        using Handlers handlers = new(cri, time);
        VolumeManager volumes = new(options, new VolumePayloads(objects, options, Allocatable, time), time);
        ImagePuller images = new(cri, events, objects, options, time);
        ProbeManager probes = new(handlers, events, time);
        PodServices shared = new()
        {
            Options = options, Client = client, Reader = reader, Volumes = volumes, Probes = probes, Statuses = new StatusManager(client, time, log),
            Runtime = new PodRuntime(
                cri, reader, images, new EnvironmentBuilder(objects, options, Allocatable), volumes, handlers, events, options, machine, time, log),
            Allocatable = Allocatable, Cgroups = CgroupPaths.Detect(), Events = events, Machine = machine, Time = time, Logger = log,
        };
        MirrorPods? mirrors = client is null ? null : new MirrorPods(client, pods!, shared.Statuses, options, log);
        NodeAgent agent = new(shared, pods, mirrors);
        shared.Admitted = () => agent.Admitted;
        await using KubeletServer server = new(options, shared, cri, agent, time, logs);
        await server.StartAsync(stopping);
        Log.Serving(log, options.Address, options.Port, options.NodeName, version.RuntimeName, version.RuntimeVersion);
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        List<Task> tasks =
        [
            agent.RunAsync(stop.Token), shared.Statuses.RunAsync(stop.Token), new Housekeeping(cri, options, events, time, log).RunAsync(stop.Token),
        ];
        if (client is not null)
        {
            tasks.Add(pods!.RunAsync(stop.Token));
            tasks.Add(services!.RunAsync(stop.Token));
            tasks.Add(recorder!.RunAsync(stop.Token));
            tasks.Add(new NodeReporter(cri, client, options, machine, events, time, random.Split(), log).RunAsync(stop.Token));
        }

        await UntilStoppedAsync(tasks, stop, probes, stopping);
    }

    // The first task that ends ends all; an end that nobody asked for is passed on.
    private static async Task UntilStoppedAsync(List<Task> tasks, CancellationTokenSource stop, ProbeManager probes, CancellationToken stopping)
    {
        await Task.WhenAny(tasks);
        await stop.CancelAsync();
        try
        {
            await Task.WhenAll(tasks);
        }
        catch (Exception e) when (stopping.IsCancellationRequested && e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled })
        {
            // Stopped as asked.
        }
        finally
        {
            await probes.StopAllAsync();
        }
    }

    private static async Task<VersionResponse> ConnectAsync(CriClient cri, TimeProvider time, CancellationToken stopping)
    {
        long begun = time.GetTimestamp();
        while (true)
        {
            try
            {
                return await cri.Runtime.VersionAsync(new VersionRequest { Version = "0.1.0" }, cancellationToken: stopping);
            }
            catch (RpcException e) when (!stopping.IsCancellationRequested)
            {
                if (time.GetElapsedTime(begun) > TimeSpan.FromSeconds(20))
                {
                    throw new KubeletStartException($"the container runtime does not answer at {cri.SocketPath} ({e.Status.Detail}): is containerd running?");
                }

                await Task.Delay(TimeSpan.FromMilliseconds(100), time, stopping);
            }
        }
    }
}

/// <summary>The kubelet cannot start; the message says why and what to do.</summary>
internal sealed class KubeletStartException(string message) : Exception(message);
