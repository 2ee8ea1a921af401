using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Kapell.Cli.Images;
using Kapell.Cli.Node;
using Kapell.Cli.Pki;
using Microsoft.Extensions.Logging;

namespace Kapell.Cli.Up;

/// <summary>
/// The whole cluster in this process, started in order (certificates, programs, store, registry and containerd, API server,
/// controllers, scheduler, node) and stopped in reverse. The parts talk to one another only through their protocols.
/// </summary>
internal sealed class ClusterHost(UpOptions options, TimeProvider time, TextWriter output) : IAsyncDisposable
{
    private const long FreeBytesMin = 256L << 20;
    private static readonly TimeSpan RestartPause = TimeSpan.FromSeconds(1);
    private readonly ClusterLayout _layout = new(options.DataDir);
    private readonly List<Component> _components = [];
    private readonly LogLevel _level = options.Verbosity >= 4 ? LogLevel.Debug : LogLevel.Information;
    private InstanceLock? _lock;
    private MirrorServer? _mirror;
    private FileLogs? _mirrorLogs;
    private ContainerdRunner? _containerd;
    private Task? _images;

    public async Task StartAsync(CancellationToken stopping)
    {
        long began = time.GetTimestamp();
        string serviceAddress = Cidr.Address(options.ServiceCidr, 1);
        _lock = InstanceLock.Take(_layout);
        CheckMachine();
        string podNetwork = PodNetwork.Choose(_layout, options.ClusterCidr);
        string podRange = Cidr.FirstNodeRange(podNetwork);
        string nodeAddress = HostFacts.NodeAddress(Cidr.Address(podRange, 1));
        output.WriteLine($"kapell {BuildFacts.Version} in {_layout.DataDir}");
        ClusterPki pki = new(_layout, time);
        await StepAsync("certificates", () =>
        {
            int made = pki.Ensure(options.NodeName, nodeAddress, serviceAddress);
            return Task.FromResult(made == 0 ? "kept" : $"{made} made");
        });
        WriteKubeconfigs(pki);
        ComponentPlan plan = new(options, _layout, nodeAddress, podNetwork, podRange);
        Start("etcd", Components.Etcd, plan.Etcd());
        Task<NodePrograms> node = StartNodeAsync(podRange, stopping);
        await StepAsync("store", () => UntilAsync("etcd", "etcd-ca", "apiserver-etcd-client", options.EtcdPort, "/health", stopping));
        Start("apiserver", Components.ApiServer, plan.ApiServer());
        await StepAsync("API server", () => UntilAsync("apiserver", "ca", "admin", options.SecurePort, "/readyz", stopping));
        Start("controller-manager", Components.ControllerManager, plan.ControllerManager(), startsAgain: true);
        Start("scheduler", Components.Scheduler, plan.Scheduler(), startsAgain: true);
        await StepAsync("containerd and image registry", async () =>
        {
            await node;
            return $"registry on 127.0.0.1:{_mirror!.Port}";
        });
        Start("kubelet", Components.Kubelet, plan.Kubelet());
        await StepAsync($"node {options.NodeName} Ready", () => UntilNodeReadyAsync(stopping));
        if (_images is { } building)
        {
            // Or the first pod finds no image, and waits out a back-off of ten seconds.
            await StepAsync("images for use without a registry", async () =>
            {
                await building;
                return options.Images;
            });
        }

        PrivateFile.Write(_layout.ReadyFile, ReadyFacts());
        output.WriteLine($"ready in {time.GetElapsedTime(began).TotalSeconds:0.0} s; {HostFacts.ResidentBytes(Environment.ProcessId) >> 20} MiB resident");
        output.WriteLine();
        output.WriteLine($"  export KUBECONFIG={_layout.Kubeconfig}");
        output.WriteLine("  kubectl run web --image=nginx && kubectl get pods -o wide");
        await output.FlushAsync(stopping);
    }

    /// <summary>
    /// Ends when asked to, or with the failure of a component that the rest cannot do without. Scheduler and controllers end by design when
    /// they lose their lease (a machine that stood still for seconds is enough), so that no two of them act: they are started again, as
    /// whoever runs upstream's does.
    /// </summary>
    public async Task WaitAsync(CancellationToken stopping)
    {
        Task stop = Task.Delay(Timeout.InfiniteTimeSpan, time, stopping);
        while (true)
        {
            Task first = await Task.WhenAny([stop, .. _components.Select(c => (Task)c.Completion)]);
            if (first == stop)
            {
                return;
            }

            int at = _components.FindIndex(c => c.Completion == first);
            Component ended = _components[at];
            if (!ended.StartsAgain)
            {
                throw ended.Failure();
            }

            output.WriteLine($"{ended.Failure().Message}; it is started again");
            await output.FlushAsync(CancellationToken.None);
            await Task.WhenAny(stop, Task.Delay(RestartPause, time, CancellationToken.None));
            await ended.StopAsync();
            _components[at] = ended.Again();
            _components[at].Start(NewSeed());
            ended.Dispose();
        }
    }

    public async ValueTask DisposeAsync()
    {
        // The reverse of the start: who writes stops before what is written to.
        foreach (Component component in Enumerable.Reverse(_components))
        {
            await component.StopAsync();
            component.Dispose();
        }

        if (_mirror is not null)
        {
            await _mirror.DisposeAsync();
        }

        if (_images is not null)
        {
            await _images;
        }

        _mirrorLogs?.Dispose();
        if (_containerd is not null)
        {
            await _containerd.StopAsync(CancellationToken.None);
        }

        File.Delete(_layout.ReadyFile);
        _lock?.Dispose();
    }

    private void CheckMachine()
    {
        foreach (string folder in new[] { _layout.Logs, _layout.Conf, _layout.Kubelet, _layout.Manifests, _layout.Cni, options.Images })
        {
            Directory.CreateDirectory(folder);
        }

        long free = new DriveInfo(_layout.DataDir).AvailableFreeSpace;
        if (free < FreeBytesMin)
        {
            throw new UpException($"the disk under {_layout.DataDir} has only {free >> 20} MiB free; {FreeBytesMin >> 20} MiB are needed",
                "make room, or choose another folder with --data-dir");
        }

        foreach ((string flag, int port) in options.Ports.Where(p => p.Port != 0))
        {
            using Socket probe = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            probe.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            try
            {
                probe.Bind(new IPEndPoint(IPAddress.Any, port));
            }
            catch (SocketException)
            {
                string holder = HostFacts.HolderOf(port);
                throw new UpException($"port {port} is taken{(holder.Length > 0 ? " by " + holder : "")}", $"stop it, or choose another port with {flag}");
            }
        }
    }

    private void WriteKubeconfigs(ClusterPki pki)
    {
        string server = $"https://127.0.0.1:{options.SecurePort}";
        void Write(string path, string user, string certificate) =>
            PrivateFile.Write(path, System.Text.Encoding.UTF8.GetBytes(pki.Kubeconfig(user, certificate, server)));
        Write(_layout.Kubeconfig, "kubernetes-admin", "admin");
        Write(Path.Combine(_layout.Conf, "scheduler.kubeconfig"), "system:kube-scheduler", "scheduler");
        Write(Path.Combine(_layout.Conf, "controller-manager.kubeconfig"), "system:kube-controller-manager", "controller-manager");
        Write(Path.Combine(_layout.Conf, "kubelet.kubeconfig"), "system:node:" + options.NodeName, "kubelet");
    }

    private async Task<NodePrograms> StartNodeAsync(string podRange, CancellationToken stopping)
    {
        (NodePrograms programs, _) = await NodePackages.EnsureAsync(options.Install, output, stopping);
        if (!File.Exists(ImageBuilder.PauseFile(options.Images)) && RuntimeInformationIsX64)
        {
            ImageBuilder.BuildPause(options.Images);
        }

        _mirrorLogs = new FileLogs(Path.Combine(_layout.Logs, "mirror.log"), _level, time);
        ILogger log = _mirrorLogs.CreateLogger("images");
        ImageStore images = new(options.Images, message => Log.ImageArchive(log, message));
        _mirror = new MirrorServer(images, options.MirrorPort, _mirrorLogs);
        await _mirror.StartAsync(stopping);
        if (options is { Offline: true, Install: true } && !ImageBuilder.HasAll(options.Images))
        {
            // Without them nothing can run here; made beside the start, and served as soon as they are whole.
            _images = BuildImagesAsync(stopping);
        }

        _containerd = new ContainerdRunner(_layout, time);
        await _containerd.StartAsync(programs, _mirror.Port, options.Offline, podRange, stopping);
        return programs;
    }

    private static bool RuntimeInformationIsX64 =>
        System.Runtime.InteropServices.RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.X64;

    private async Task BuildImagesAsync(CancellationToken stopping)
    {
        try
        {
            await ImageBuilder.BuildAllAsync(options.Images, TextWriter.Null, stopping);
            output.WriteLine($"  images pause, busybox and nginx built into {options.Images}");
        }
        catch (Exception e) when (e is CommandFailedException or IOException or OperationCanceledException)
        {
            output.WriteLine($"  the images busybox and nginx could not be built: {e.Message}\n  next: kapell images build --dir {options.Images}");
        }
    }

    private void Start(string name, ComponentMain main, IReadOnlyList<string> args, bool startsAgain = false)
    {
        Component component = new(name, main, args, _layout, _level, time, startsAgain);
        _components.Add(component);
        component.Start(NewSeed());
    }

    private static ulong NewSeed() => BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8));

    private async Task StepAsync(string what, Func<Task<string>> work)
    {
        long began = time.GetTimestamp();
        string detail = await work();
        output.WriteLine($"  {what,-34} {time.GetElapsedTime(began).TotalSeconds,6:0.00} s  {detail}");
    }

    private async Task<string> UntilAsync(string component, string authority, string certificate, int port, string path, CancellationToken stopping)
    {
        using ClusterClient client = new(_layout, authority, certificate, port);
        long began = time.GetTimestamp();
        while (true)
        {
            (bool good, string text) = await client.TryGetAsync(path, stopping);
            if (good)
            {
                return $"https://127.0.0.1:{port}";
            }

            ThrowIfEnded();
            if (time.GetElapsedTime(began) > options.ReadyTimeout)
            {
                throw new UpException($"{component} is not ready after {options.ReadyTimeout.TotalSeconds:0} s; {path} says: {text.Trim()}", "see " + Path.Combine(_layout.Logs, component + ".log"));
            }

            await Task.Delay(TimeSpan.FromMilliseconds(25), time, stopping);
        }
    }

    private async Task<string> UntilNodeReadyAsync(CancellationToken stopping)
    {
        using ClusterClient client = new(_layout, "ca", "admin", options.SecurePort);
        long began = time.GetTimestamp();
        while (true)
        {
            JsonNode? node = await client.TryReadAsync("/api/v1/nodes/" + options.NodeName, stopping);
            JsonNode? ready = node?["status"]?["conditions"]?.AsArray().FirstOrDefault(c => (string?)c?["type"] == "Ready");
            // A first pod needs its service account too, which a controller makes a moment after the namespace.
            if ((string?)ready?["status"] == "True"
                && await client.TryReadAsync("/api/v1/namespaces/default/serviceaccounts/default", stopping) is not null)
            {
                return (string?)node!["status"]?["nodeInfo"]?["containerRuntimeVersion"] ?? "";
            }

            ThrowIfEnded();
            if (time.GetElapsedTime(began) > options.ReadyTimeout)
            {
                string why = node is null ? "it did not register"
                    : (string?)ready?["status"] == "True" ? "the service account default/default was not made; see controller-manager.log"
                    : (string?)ready?["message"] ?? "it reports no Ready condition";
                throw new UpException($"node {options.NodeName} is not Ready after {options.ReadyTimeout.TotalSeconds:0} s: {why}", "see " + Path.Combine(_layout.Logs, "kubelet.log"));
            }

            await Task.Delay(TimeSpan.FromMilliseconds(50), time, stopping);
        }
    }

    private void ThrowIfEnded()
    {
        if (_components.FirstOrDefault(c => c.Completion.IsCompleted) is { } ended)
        {
            throw ended.Failure();
        }
    }

    private byte[] ReadyFacts() => System.Text.Encoding.UTF8.GetBytes(new JsonObject
    {
        ["pid"] = Environment.ProcessId, ["nodeName"] = options.NodeName, ["etcdPort"] = options.EtcdPort, ["securePort"] = options.SecurePort,
        ["kubeletPort"] = options.KubeletPort, ["mirrorPort"] = _mirror!.Port, ["offline"] = options.Offline, ["images"] = options.Images,
    }.ToJsonString());
}
