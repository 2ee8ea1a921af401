using System.Text.Json;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Pods;
using Kapell.Kubelet.Runtime;
using Kapell.Machinery;

namespace Kapell.Kubelet.Volumes;

/// <summary>Sets up a pod's volumes on the host, keeps them current, gives each container its mounts, and cleans up.</summary>
internal sealed class VolumeManager(KubeletOptions options, VolumePayloads payloads, TimeProvider time)
{
    private const UnixFileMode Everybody = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead
        | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    /// <summary>Volume name to host path. Safe to repeat: what is there stays, what changed is written anew.</summary>
    /// <exception cref="VolumeException">One volume cannot be set up; the message names it.</exception>
    public async Task<IReadOnlyDictionary<string, string>> SetUpAsync(Pod pod, IReadOnlyList<string> podIps, CancellationToken cancellation)
    {
        Dictionary<string, string> paths = new(StringComparer.Ordinal);
        foreach (JsonElement volume in pod.Spec.Items("volumes"))
        {
            string name = volume.Text("name");
            try
            {
                paths[name] = await SetUpOneAsync(pod, volume, name, podIps, cancellation);
            }
            catch (Exception e) when (e is VolumeException or IOException or UnauthorizedAccessException or StatusException or StartException or FormatException)
            {
                throw new VolumeException($"MountVolume.SetUp failed for volume \"{name}\" : {e.Message}");
            }
        }

        return paths;
    }

    /// <summary>Unmounts and deletes everything of a pod on the host.</summary>
    public void TearDown(string uid)
    {
        payloads.Forget(uid);
        string folder = options.PodDir(uid);
        if (!Directory.Exists(folder))
        {
            return;
        }

        string volumes = Path.Combine(folder, "volumes", "kubernetes.io~empty-dir");
        if (Directory.Exists(volumes))
        {
            foreach (string volume in Directory.EnumerateDirectories(volumes).Where(Native.IsMountPoint))
            {
                if (!Native.Unmount(volume))
                {
                    throw new IOException($"cannot unmount {volume}");
                }
            }
        }

        Directory.Delete(folder, recursive: true);
    }

    public IEnumerable<Mount> Mounts(
        Pod pod, ContainerSpec spec, IReadOnlyDictionary<string, string> volumes, IReadOnlyDictionary<string, string> environment)
    {
        foreach (JsonElement mount in spec.Json.Items("volumeMounts"))
        {
            string name = mount.Text("name");
            if (!volumes.TryGetValue(name, out string? source))
            {
                throw new StartException("CreateContainerConfigError", $"volume \"{name}\" is not set up");
            }

            string sub = mount.Text("subPathExpr") is { Length: > 0 } expression ? Expansion.Expand(expression, environment) : mount.Text("subPath");
            bool readOnly = mount.Bool("readOnly");
            string path = mount.Text("mountPath");
            yield return new Mount
            {
                ContainerPath = path.StartsWith('/') ? path : "/" + path, Readonly = readOnly,
                HostPath = sub.Length == 0 ? source : SubPaths.Resolve(source, sub, spec.Name, name, IsObjectVolume(pod, name)),
                Propagation = mount.Text("mountPropagation") switch
                {
                    "HostToContainer" => MountPropagation.PropagationHostToContainer,
                    "Bidirectional" => MountPropagation.PropagationBidirectional,
                    _ => MountPropagation.PropagationPrivate,
                },
            };
        }
    }

    private static bool IsObjectVolume(Pod pod, string name) => pod.Spec.Items("volumes").FirstOrDefault(v => v.Text("name") == name) is var v
        && (v.Has("configMap") || v.Has("secret") || v.Has("projected") || v.Has("downwardAPI"));

    private async Task<string> SetUpOneAsync(Pod pod, JsonElement volume, string name, IReadOnlyList<string> podIps, CancellationToken cancellation)
    {
        if (volume.Has("hostPath"))
        {
            return HostPaths.Check(volume.Get("hostPath"));
        }

        int? group = pod.Spec.Get("securityContext").Has("fsGroup") ? (int)pod.Spec.Get("securityContext").Long("fsGroup") : null;
        string? plugin = volume.Has("emptyDir") ? "empty-dir"
            : volume.Has("configMap") ? "configmap"
            : volume.Has("secret") ? "secret"
            : volume.Has("projected") ? "projected"
            : volume.Has("downwardAPI") ? "downward-api"
            : null;
        if (plugin is null)
        {
            string type = volume.EnumerateObject().Select(p => p.Name).FirstOrDefault(n => n != "name") ?? "emptyDir";
            if (type != "emptyDir")
            {
                throw new VolumeException($"no volume plugin matched: volume type \"{type}\" is not supported by this kubelet");
            }

            plugin = "empty-dir";
        }

        string folder = Path.Combine(options.PodDir(pod.Uid), "volumes", "kubernetes.io~" + plugin, name);
        bool fresh = !Directory.Exists(folder);
        Directory.CreateDirectory(folder);
        if (plugin == "empty-dir")
        {
            SetUpEmptyDir(volume.Get("emptyDir"), folder, fresh, group);
            return folder;
        }

        Dictionary<string, PayloadFile> files = await payloads.BuildAsync(pod, volume, podIps, cancellation);
        AtomicWriter.Write(folder, files, time.GetUtcNow(), group);
        if (fresh)
        {
            File.SetUnixFileMode(folder, Everybody);
        }

        return folder;
    }

    private static void SetUpEmptyDir(JsonElement source, string folder, bool fresh, int? group)
    {
        if (source.Text("medium") == "Memory" && !Native.IsMountPoint(folder))
        {
            decimal size = ResourceAmounts.Of(source, "sizeLimit");
            Native.MountTmpfs(folder, size > 0 ? $"mode=0777,size={(long)size}" : "mode=0777");
            fresh = true;
        }
        else if (source.Text("medium") is not ("" or "Memory"))
        {
            throw new VolumeException($"storage medium \"{source.Text("medium")}\" is not supported by this kubelet");
        }

        if (fresh)
        {
            File.SetUnixFileMode(folder, Everybody);
            if (group is { } gid)
            {
                Ownership.SetGroup(folder, gid, readOnly: false);
            }
        }
    }
}
