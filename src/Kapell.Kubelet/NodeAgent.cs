using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Grpc.Core;
using Kapell.Client.Informers;
using Kapell.Kubelet.Pods;
using Kapell.Kubelet.Runtime;
using Kapell.Kubelet.Volumes;
using Kapell.Machinery;
using Kapell.Machinery.Yaml;

namespace Kapell.Kubelet;

/// <summary>
/// Gives each pod of this node its worker: from the API server's watch, from static pod files, and for what the runtime still runs of
/// pods that nobody knows. Looks at the whole runtime each second and wakes the workers whose pods changed.
/// </summary>
internal sealed class NodeAgent(PodServices services, Informer? pods, MirrorPods? mirrors)
{
    private static readonly TimeSpan RelistEvery = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LeftoversEvery = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan UsageEvery = TimeSpan.FromSeconds(10);
    private readonly ConcurrentDictionary<string, (PodWorker Worker, Task Task)> _workers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _static = new(StringComparer.Ordinal); // File to uid; the relist loop's own.
    private readonly Lock _lock = new();
    private CancellationToken _stopping;
    private DateTimeOffset _leftoversAt;
    private DateTimeOffset _usageAt;

    public long RelistedAt { get; private set; }

    public IEnumerable<Pod> Pods => _workers.Values.Select(w => w.Worker.Pod);

    public IEnumerable<Pod> Admitted => _workers.Values.Where(w => w.Worker.HoldsRoom).Select(w => w.Worker.Pod);

    public Pod? Find(string ns, string name) => Pods.Where(p => p.Namespace == ns && p.Name == name).OrderBy(p => p.IsDeleting).FirstOrDefault();

    public async Task RunAsync(CancellationToken stopping)
    {
        _stopping = stopping;
        pods?.AddHandler(new InformerHandler
        {
            OnAdded = Dispatch,
            OnUpdated = (_, now) => Dispatch(now),
            OnDeleted = gone =>
            {
                if (_workers.TryGetValue(gone.Uid, out var entry))
                {
                    entry.Worker.Remove();
                }
            },
        });
        try
        {
            while (true)
            {
                try
                {
                    ReadStaticPods();
                    await RelistAsync(stopping);
                    if (mirrors is not null)
                    {
                        await mirrors.SyncAsync([.. Pods.Where(p => p.IsStatic && _static.ContainsValue(p.Uid))], stopping);
                    }
                }
                catch (Exception e) when (e is RpcException or IOException && !stopping.IsCancellationRequested)
                {
                    Log.TaskFailed(services.Logger, "looking at the runtime", e.Message);
                }

                await Task.Delay(RelistEvery, services.Time, stopping);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or RpcException && stopping.IsCancellationRequested)
        {
            // Containers are left running: the next kubelet adopts them.
        }

        await Task.WhenAll(_workers.Values.Select(w => w.Task));
    }

    private void Dispatch(KubeObject source)
    {
        Pod pod = new(source);
        // A static pod's image at the API server is not a second pod.
        if (pod.IsMirror || pod.Uid.Length == 0)
        {
            return;
        }

        // Upstream's rule: a pod by the same name under another uid has replaced this one.
        Ensure(pod).Update(pod);
    }

    private PodWorker Ensure(Pod pod)
    {
        lock (_lock)
        {
            if (_workers.TryGetValue(pod.Uid, out var entry))
            {
                return entry.Worker;
            }

            PodWorker worker = new(services, pod);
            _workers[pod.Uid] = (worker, RunWorkerAsync(worker, pod.Uid));
            return worker;
        }
    }

    private async Task RunWorkerAsync(PodWorker worker, string uid)
    {
        await Task.Yield();
        await worker.RunAsync(_stopping);
        if (worker.IsFinished)
        {
            _workers.TryRemove(uid, out _);
        }
    }

    private readonly Dictionary<string, string> _fingerprints = new(StringComparer.Ordinal);

    private async Task RelistAsync(CancellationToken stopping)
    {
        IReadOnlyDictionary<string, RuntimeEntry> all = await services.Reader.AllAsync(stopping);
        RelistedAt = services.Time.GetTimestamp();
        foreach ((string uid, RuntimeEntry entry) in all)
        {
            if (_workers.TryGetValue(uid, out var worker))
            {
                if (!_fingerprints.TryGetValue(uid, out string? before) || before != entry.Fingerprint)
                {
                    worker.Worker.Wake();
                }
            }
            else if (pods is null || pods.HasSynced)
            {
                // Only now is it certain that nobody asks for this pod.
                Log.Orphan(services.Logger, entry.Namespace, entry.Name, uid);
                Ensure(new Pod(KubeObject.From(new JsonObject
                {
                    ["metadata"] = new JsonObject { ["name"] = entry.Name, ["namespace"] = entry.Namespace, ["uid"] = uid }, ["spec"] = new JsonObject(),
                }))).Remove();
            }

            _fingerprints[uid] = entry.Fingerprint;
        }

        foreach (string uid in _fingerprints.Keys.Where(k => !all.ContainsKey(k)).ToArray())
        {
            _fingerprints.Remove(uid);
            if (_workers.TryGetValue(uid, out var worker))
            {
                worker.Worker.Wake();
            }
        }

        DateTimeOffset now = services.Time.GetUtcNow();
        if (now - _usageAt > UsageEvery)
        {
            _usageAt = now;
            LookAtUsage();
        }

        if ((pods is null || pods.HasSynced) && now - _leftoversAt > LeftoversEvery)
        {
            _leftoversAt = now;
            RemoveLeftovers(all);
        }
    }

    private void LookAtUsage()
    {
        foreach (PodWorker worker in _workers.Values.Select(w => w.Worker).Where(w => w.HoldsRoom))
        {
            if (EmptyDirUsage.Excess(worker.Pod, services.Options.PodDir(worker.Pod.Uid)) is { } excess)
            {
                worker.Evict(excess);
            }
        }
    }

    // Folders of pods that ended while no kubelet was there.
    private void RemoveLeftovers(IReadOnlyDictionary<string, RuntimeEntry> all)
    {
        string root = Path.Combine(services.Options.RootDir, "pods");
        if (!Directory.Exists(root))
        {
            return;
        }

        foreach (string uid in Directory.EnumerateDirectories(root).Select(d => Path.GetFileName(d)).Where(u => !_workers.ContainsKey(u) && !all.ContainsKey(u)))
        {
            services.Volumes.TearDown(uid);
        }
    }

    private void ReadStaticPods()
    {
        string folder = services.Options.StaticPodDir;
        if (folder.Length == 0 || !Directory.Exists(folder))
        {
            return;
        }

        HashSet<string> seen = [];
        foreach (string file in Directory.EnumerateFiles(folder).Where(f => Path.GetExtension(f) is ".json" or ".yaml" or ".yml"))
        {
            try
            {
                byte[] bytes = File.ReadAllBytes(file);
                string uid = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes))[..32];
                seen.Add(file);
                if (_static.TryGetValue(file, out string? before) && before == uid)
                {
                    continue;
                }

                if (before is not null && _workers.TryGetValue(before, out var old))
                {
                    old.Worker.Remove();
                }

                JsonObject manifest = Path.GetExtension(file) == ".json"
                    ? JsonBytes.ParseObject(bytes)
                    : YamlToJson.Convert(bytes, out _) as JsonObject ?? throw new JsonException("a pod is expected");
                Pod pod = StaticPod(manifest, uid);
                _static[file] = uid;
                Ensure(pod).Update(pod);
            }
            catch (Exception e) when (e is JsonException or FormatException or StatusException)
            {
                // Said once for each version of the file.
                _static[file] = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(file)))[..32];
                Log.TaskFailed(services.Logger, "reading static pod " + file, e.Message);
            }
        }

        foreach ((string file, string uid) in _static.Where(s => !seen.Contains(s.Key)).ToArray())
        {
            _static.Remove(file);
            if (_workers.TryGetValue(uid, out var gone))
            {
                gone.Worker.Remove();
            }
        }
    }

    private Pod StaticPod(JsonObject json, string uid)
    {
        JsonObject metadata = json["metadata"] as JsonObject ?? throw new JsonException("metadata is missing");
        metadata["uid"] = uid;
        metadata["namespace"] ??= "default";
        metadata["name"] = $"{metadata["name"]}-{services.Options.NodeName}";
        JsonObject annotations = metadata["annotations"] as JsonObject ?? [];
        annotations["kubernetes.io/config.source"] = Pod.StaticSource;
        annotations["kubernetes.io/config.hash"] = uid;
        annotations["kubernetes.io/config.seen"] = services.Time.GetUtcNow().UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fffffff'Z'", CultureInfo.InvariantCulture);
        metadata["annotations"] = annotations.Parent is null ? annotations : annotations.DeepClone();
        // Kubernetes: config/common.go applyDefaults: nothing evicts a static pod, since nothing could bring it back.
        JsonObject spec = json["spec"] as JsonObject ?? throw new JsonException("spec is missing");
        spec["nodeName"] = services.Options.NodeName;
        JsonArray tolerations = spec["tolerations"] as JsonArray ?? [];
        tolerations.Add((JsonNode)new JsonObject { ["operator"] = "Exists", ["effect"] = "NoExecute" });
        spec["tolerations"] = tolerations.Parent is null ? tolerations : tolerations.DeepClone();
        return new Pod(KubeObject.From(json));
    }
}
