using System.Security.Cryptography;
using System.Text;

namespace Kapell.Cli.Up;

/// <summary>Where one cluster keeps its things, below its data folder.</summary>
internal sealed class ClusterLayout(string dataDir)
{
    public string DataDir { get; } = Path.GetFullPath(dataDir);

    public static string DefaultDataDir => Environment.IsPrivilegedProcess
        ? "/var/lib/kapell"
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".local/share/kapell");

    /// <summary>Shared by all clusters of the machine.</summary>
    public static string DefaultImages => Path.Combine(DefaultDataDir, "images");

    public string Kubeconfig => Path.Combine(DataDir, "kubeconfig");

    public string PidFile => Path.Combine(DataDir, "kapell.pid");

    public string LockFile => Path.Combine(DataDir, "kapell.lock");

    /// <summary>Exists while the cluster is up: how it was started, for <c>status</c>.</summary>
    public string ReadyFile => Path.Combine(DataDir, "ready.json");

    public string Pki => Path.Combine(DataDir, "pki");

    public string Etcd => Path.Combine(DataDir, "etcd");

    public string Kubelet => Path.Combine(DataDir, "kubelet");

    /// <summary>Static pods: files put here run without being asked for at the API server.</summary>
    public string Manifests => Path.Combine(DataDir, "manifests");

    public string Containerd => Path.Combine(DataDir, "containerd");

    public string Cni => Path.Combine(DataDir, "cni");

    public string Logs => Path.Combine(DataDir, "log");

    public string Conf => Path.Combine(DataDir, "conf");

    /// <summary>Short and stable, from the data folder's path: names bridges and sockets, whose names are limited (15 and 108 bytes).</summary>
    public string Id => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(DataDir)))[..8];

    /// <summary>The bridge that joins this node's pods.</summary>
    public string Bridge => "kap" + Id;

    public string RunDir => Path.Combine("/run/kapell", Id);

    public string ContainerdSocket => Path.Combine(RunDir, "containerd.sock");

    public string PkiFile(string name) => Path.Combine(Pki, name);
}
