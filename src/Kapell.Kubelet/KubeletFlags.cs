using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Kapell.Base;
using Kapell.Kubelet.Pods;

namespace Kapell.Kubelet;

/// <summary>Upstream's flags of the kubelet, as far as they mean something here.</summary>
internal sealed class KubeletFlags
{
    private readonly FlagSet _flags = new("kubelet", "Runs the pods of one node over a CRI runtime and reports to the API server.");
    private readonly FlagValue<string> _hostname, _endpoint, _root, _address, _cert, _key, _ca, _authorization, _domain, _resolv, _cgroupRoot, _cgroupDriver,
        _infra, _manifests, _reservedSystem, _reservedKube, _logs, _nodeIp, _logSize, _labels, _config;
    private readonly FlagValue<IReadOnlyList<string>> _dns, _taints, _sysctls;
    private readonly FlagValue<int> _port, _maxPods, _logFiles, _parallel;
    private readonly FlagValue<bool> _register, _anonymous;

    public KubeletFlags()
    {
        Kubeconfig = _flags.String("kubeconfig", "", "Path to a kubeconfig file. Without it only static pods run.");
        _config = _flags.String("config", "", "Not supported: use flags.");
        _hostname = _flags.String("hostname-override", "", "The node's name instead of the host's.");
        _nodeIp = _flags.String("node-ip", "", "IP address (or comma-separated dual-stack pair) of the node.");
        _register = _flags.Bool("register-node", true, "Register the node with the API server.");
        _labels = _flags.String("node-labels", "", "Labels to add when registering: key=value,...");
        _taints = _flags.List("register-with-taints", [], "Taints to register with: key=value:effect,...");
        _root = _flags.String("root-dir", "/var/lib/kubelet", "Folder for volumes and other files of pods.");
        _logs = _flags.String("pod-logs-dir", "", "Folder for container logs; default /var/log/pods, or pod-logs under another root-dir.");
        _manifests = _flags.String("pod-manifest-path", "", "Folder with static pods as JSON or YAML files.");
        _endpoint = _flags.String("container-runtime-endpoint", "unix:///run/containerd/containerd.sock", "The runtime's CRI socket.");
        _cgroupDriver = _flags.String("cgroup-driver", "cgroupfs", "Only cgroupfs is supported.");
        _cgroupRoot = _flags.String("cgroup-root", "", "The cgroup below which pods get theirs.");
        _infra = _flags.String("pod-infra-container-image", "", "The sandbox image: never collected.");
        _dns = _flags.List("cluster-dns", [], "DNS servers of pods with dnsPolicy ClusterFirst.");
        _domain = _flags.String("cluster-domain", "cluster.local", "The cluster's DNS domain.");
        _resolv = _flags.String("resolv-conf", "/etc/resolv.conf", "The host's resolver settings.");
        _maxPods = _flags.Int("max-pods", 110, "How many pods may run here.");
        _reservedSystem = _flags.String("system-reserved", "", "Resources kept from pods for the system: cpu=200m,memory=500Mi");
        _reservedKube = _flags.String("kube-reserved", "", "Resources kept from pods for Kubernetes' own parts.");
        _sysctls = _flags.List("allowed-unsafe-sysctls", [], "Unsafe sysctls (or patterns ending in *) that pods may set.");
        _logSize = _flags.String("container-log-max-size", "10Mi", "A log is rotated at this size.");
        _logFiles = _flags.Int("container-log-max-files", 5, "How many log files a container may have.");
        _parallel = _flags.Int("max-parallel-image-pulls", 4, "How many images are pulled at a time.");
        _address = _flags.String("address", "0.0.0.0", "The IP address to serve on.");
        _port = _flags.Int("port", 10250, "The port to serve on.");
        _cert = _flags.String("tls-cert-file", "", "The server's certificate; without it a self-signed one is made.");
        _key = _flags.String("tls-private-key-file", "", "The certificate's private key.");
        _ca = _flags.String("client-ca-file", "", "Clients must show a certificate signed by one of these authorities.");
        _anonymous = _flags.Bool("anonymous-auth", false, "Serve clients without a certificate.");
        _authorization = _flags.String("authorization-mode", "Webhook", "AlwaysAllow, or Webhook: ask the API server.");
    }

    public FlagValue<string> Kubeconfig { get; }

    public bool HelpWanted => _flags.HelpWanted;

    public string Help() => _flags.Help();

    /// <exception cref="FlagException">With what is wrong.</exception>
    public KubeletOptions Parse(IReadOnlyList<string> args)
    {
        _flags.Parse(args);
        Require(_config.Value.Length == 0, "--config is not supported: give the settings as flags");
        Require(_cgroupDriver.Value == "cgroupfs", $"--cgroup-driver={_cgroupDriver.Value} is not supported: only cgroupfs is");
        Require(_authorization.Value is "Webhook" or "AlwaysAllow", $"--authorization-mode={_authorization.Value} is not one of AlwaysAllow, Webhook");
        Require(_cert.Value.Length == 0 == (_key.Value.Length == 0), "--tls-cert-file and --tls-private-key-file go together");
        string root = Path.GetFullPath(_root.Value);
        string logs = _logs.Value.Length > 0 ? _logs.Value : root == "/var/lib/kubelet" ? "/var/log/pods" : Path.Combine(root, "pod-logs");
        Require(ResourceAmounts.TryParse(_logSize.Value, out decimal logBytes) && logBytes > 0, $"--container-log-max-size={_logSize.Value} is not a quantity");
        Dictionary<string, decimal> reserved = new(StringComparer.Ordinal);
        AddReserved("system-reserved", _reservedSystem.Value, reserved);
        AddReserved("kube-reserved", _reservedKube.Value, reserved);
        return new KubeletOptions
        {
            NodeName = (_hostname.Value.Length > 0 ? _hostname.Value : Dns.GetHostName()).ToLowerInvariant(), NodeIps = NodeIps(_nodeIp.Value), RootDir = root,
            PodLogsDir = logs, RuntimeEndpoint = _endpoint.Value, CgroupRoot = _cgroupRoot.Value.TrimEnd('/'), ClusterDns = _dns.Value,
            ClusterDomain = _domain.Value, ResolvConf = _resolv.Value, Address = _address.Value, Port = _port.Value, MaxPods = _maxPods.Value,
            TlsCertFile = _cert.Value, TlsKeyFile = _key.Value, ClientCaFile = _ca.Value, AnonymousAuth = _anonymous.Value,
            AuthorizationMode = _authorization.Value, RegisterNode = _register.Value, NodeLabels = Pairs("node-labels", _labels.Value),
            Taints = [.. _taints.Value.Select(Taint)], Reserved = reserved, AllowedUnsafeSysctls = _sysctls.Value, StaticPodDir = _manifests.Value,
            InfraImage = _infra.Value, ContainerLogBytesMax = (long)logBytes, ContainerLogFilesMax = Math.Max(2, _logFiles.Value),
            RegistryPullMax = Math.Max(1, _parallel.Value),
        };
    }

    private static void Require(bool holds, string message)
    {
        if (!holds)
        {
            throw new FlagException(message);
        }
    }

    private static Dictionary<string, string> Pairs(string flag, string text)
    {
        Dictionary<string, string> pairs = new(StringComparer.Ordinal);
        foreach (string pair in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            string[] parts = pair.Split('=', 2);
            Require(parts[0].Length > 0, $"--{flag}: \"{pair}\" is not key=value");
            pairs[parts[0]] = parts.Length > 1 ? parts[1] : "";
        }

        return pairs;
    }

    private static void AddReserved(string flag, string text, Dictionary<string, decimal> sum)
    {
        foreach ((string name, string value) in Pairs(flag, text))
        {
            Require(ResourceAmounts.TryParse(value, out decimal amount), $"--{flag}: \"{value}\" is not a quantity");
            sum[name] = sum.GetValueOrDefault(name) + amount;
        }
    }

    private static (string, string, string) Taint(string text)
    {
        string[] halves = text.Split(':');
        Require(halves.Length == 2 && halves[1] is "NoSchedule" or "PreferNoSchedule" or "NoExecute", $"invalid taint spec: {text}");
        string[] pair = halves[0].Split('=', 2);
        return (pair[0], pair.Length > 1 ? pair[1] : "", halves[1]);
    }

    // Without the flag: the first address of a network card that is up and leads somewhere, else loopback.
    private static IReadOnlyList<string> NodeIps(string flag)
    {
        if (flag.Length > 0)
        {
            string[] given = flag.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
            foreach (string ip in given)
            {
                Require(IPAddress.TryParse(ip, out _), $"--node-ip: \"{ip}\" is not an IP address");
            }

            return given;
        }

        IPAddress? found = NetworkInterface.GetAllNetworkInterfaces()
            .Where(n => n.OperationalStatus == OperationalStatus.Up && n.GetIPProperties().GatewayAddresses.Count > 0)
            .SelectMany(n => n.GetIPProperties().UnicastAddresses).Select(a => a.Address)
            .FirstOrDefault(a => a.AddressFamily == AddressFamily.InterNetwork);
        return [(found ?? IPAddress.Loopback).ToString()];
    }
}
