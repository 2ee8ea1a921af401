using Kapell.Base;

namespace Kapell.Cli.Up;

/// <summary>What <c>kapell up</c> was asked for.</summary>
internal sealed record UpOptions
{
    public required string DataDir { get; init; }
    public required bool Detach { get; init; }
    public required bool Offline { get; init; }
    public required bool Install { get; init; }
    public required string Images { get; init; }
    public required string NodeName { get; init; }
    public required int EtcdPort { get; init; }
    public required int EtcdPeerPort { get; init; }
    public required int SecurePort { get; init; }
    public required int KubeletPort { get; init; }
    public required int MirrorPort { get; init; }
    public required string ClusterCidr { get; init; }
    public required string ServiceCidr { get; init; }
    public required TimeSpan ReadyTimeout { get; init; }
    public required int Verbosity { get; init; }

    /// <summary>Ports in the order of the messages: flag, number.</summary>
    public IEnumerable<(string Flag, int Port)> Ports =>
        [("--etcd-port", EtcdPort), ("--etcd-peer-port", EtcdPeerPort), ("--secure-port", SecurePort), ("--kubelet-port", KubeletPort), ("--mirror-port", MirrorPort)];

    /// <summary>Null when only the help was wanted, which has been printed.</summary>
    public static UpOptions? Parse(IReadOnlyList<string> args, TextWriter output)
    {
        FlagSet flags = new("kapell up",
            "Brings up a whole cluster on this machine: store, API server, scheduler, controllers and one node that runs real containers.\n" +
            "Run again after a stop or a crash, everything is still there. Needs root for the containers.");
        FlagValue<string> dataDir = flags.String("data-dir", ClusterLayout.DefaultDataDir, "Where the cluster lives; the kubeconfig is DIR/kubeconfig, the process id DIR/kapell.pid.");
        FlagValue<bool> detach = flags.Bool("detach", false, "Go on in the background; return when the node is Ready, or fail with the reason.");
        FlagValue<bool> offline = flags.Bool("offline", false, "Images come only from the local folder; no registry is ever asked.");
        FlagValue<bool> install = flags.Bool("install", true, "Install missing Debian packages (when root).");
        FlagValue<string> images = flags.String("images", ClusterLayout.DefaultImages, "Folder of image archives (OCI layouts in .tar) that the local registry serves.");
        FlagValue<TimeSpan> ready = flags.Duration("ready-timeout", TimeSpan.FromSeconds(90), "How long the node may take to become Ready.");
        flags.Group("Node and network");
        FlagValue<string> node = flags.String("node-name", Environment.MachineName.ToLowerInvariant(), "Name of the node.");
        FlagValue<string> cluster = flags.String("cluster-cidr", "", "Addresses for pods; empty takes 10.244.0.0/16, or the next that no other cluster of this machine has, and keeps it.");
        FlagValue<string> service = flags.String("service-cidr", "10.96.0.0/12", "Addresses for services.");
        flags.Group("Ports");
        FlagValue<int> etcd = flags.Int("etcd-port", 2379, "The store's client port (loopback).");
        FlagValue<int> peer = flags.Int("etcd-peer-port", 2380, "The store's peer port (loopback).");
        FlagValue<int> secure = flags.Int("secure-port", 6443, "The API server's port.");
        FlagValue<int> kubelet = flags.Int("kubelet-port", 10250, "The kubelet's port.");
        FlagValue<int> mirror = flags.Int("mirror-port", 0, "The local image registry's port (loopback); 0 takes a free one and keeps it.");
        flags.Group("Logs");
        FlagValue<int> verbosity = flags.Int("v", 0, "Log verbosity: 0 information, 4 and above debug.");
        flags.Examples.Add("kapell up                         # then: export KUBECONFIG=/var/lib/kapell/kubeconfig; kubectl get nodes");
        flags.Examples.Add("kapell up --offline --detach --data-dir /tmp/one");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            output.Write(flags.Help());
            return null;
        }

        if (flags.Arguments.Count > 0)
        {
            throw new FlagException($"unknown argument \"{flags.Arguments[0]}\"");
        }

        return new UpOptions
        {
            DataDir = Path.GetFullPath(dataDir.Value), Detach = detach.Value, Offline = offline.Value, Install = install.Value,
            Images = Path.GetFullPath(images.Value), NodeName = node.Value, EtcdPort = etcd.Value, EtcdPeerPort = peer.Value,
            SecurePort = secure.Value, KubeletPort = kubelet.Value, MirrorPort = mirror.Value, ClusterCidr = cluster.Value,
            ServiceCidr = service.Value, ReadyTimeout = ready.Value, Verbosity = verbosity.Value,
        };
    }
}
