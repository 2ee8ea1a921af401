namespace Kapell.Cli.Up;

/// <summary>The command line of each component of one cluster: the same flags that somebody would write by hand.</summary>
internal sealed class ComponentPlan(UpOptions options, ClusterLayout layout, string nodeAddress, string podNetwork, string podRange)
{
    /// <summary>The data folder's lock lets one instance run, so after a crash it may take its own lease again at once.</summary>
    private string Identity => $"--leader-elect-identity={options.NodeName}_{layout.Id}";

    private string Pki(string name) => layout.PkiFile(name);

    private string Kubeconfig(string name) => Path.Combine(layout.Conf, name + ".kubeconfig");

    public IReadOnlyList<string> Etcd()
    {
        string client = $"https://127.0.0.1:{options.EtcdPort}";
        string peer = $"https://127.0.0.1:{options.EtcdPeerPort}";
        return
        [
            "--name=default", $"--data-dir={layout.Etcd}",
            $"--listen-client-urls={client}", $"--advertise-client-urls={client}",
            $"--listen-peer-urls={peer}", $"--initial-advertise-peer-urls={peer}", $"--initial-cluster=default={peer}",
            $"--cert-file={Pki("etcd-server.crt")}", $"--key-file={Pki("etcd-server.key")}", "--client-cert-auth", $"--trusted-ca-file={Pki("etcd-ca.crt")}",
            $"--peer-cert-file={Pki("etcd-server.crt")}", $"--peer-key-file={Pki("etcd-server.key")}", "--peer-client-cert-auth", $"--peer-trusted-ca-file={Pki("etcd-ca.crt")}",
        ];
    }

    public IReadOnlyList<string> ApiServer() =>
    [
        $"--etcd-servers=https://127.0.0.1:{options.EtcdPort}",
        $"--etcd-cafile={Pki("etcd-ca.crt")}", $"--etcd-certfile={Pki("apiserver-etcd-client.crt")}", $"--etcd-keyfile={Pki("apiserver-etcd-client.key")}",
        $"--secure-port={options.SecurePort}", $"--advertise-address={nodeAddress}",
        $"--tls-cert-file={Pki("apiserver.crt")}", $"--tls-private-key-file={Pki("apiserver.key")}", $"--client-ca-file={Pki("ca.crt")}",
        $"--service-cluster-ip-range={options.ServiceCidr}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        $"--service-account-key-file={Pki("sa.pub")}", $"--service-account-signing-key-file={Pki("sa.key")}",
        "--authorization-mode=Node,RBAC",
        $"--kubelet-client-certificate={Pki("apiserver-kubelet-client.crt")}", $"--kubelet-client-key={Pki("apiserver-kubelet-client.key")}",
        $"--kubelet-certificate-authority={Pki("ca.crt")}",
        "--kubelet-preferred-address-types=InternalIP,Hostname", // a node's name need not resolve
    ];

    public IReadOnlyList<string> ControllerManager() =>
    [
        $"--kubeconfig={Kubeconfig("controller-manager")}", "--leader-elect=true", Identity, "--allocate-node-cidrs=true",
        $"--cluster-cidr={podNetwork}", $"--service-cluster-ip-range={options.ServiceCidr}",
        $"--root-ca-file={Pki("ca.crt")}", $"--service-account-private-key-file={Pki("sa.key")}", "--secure-port=0",
        "--use-service-account-credentials=true",
    ];

    public IReadOnlyList<string> Scheduler() => [$"--kubeconfig={Kubeconfig("scheduler")}", "--leader-elect=true", Identity, "--secure-port=0"];

    public IReadOnlyList<string> Kubelet() =>
    [
        $"--kubeconfig={Kubeconfig("kubelet")}", $"--hostname-override={options.NodeName}", $"--node-ip={nodeAddress}",
        $"--container-runtime-endpoint=unix://{layout.ContainerdSocket}", $"--root-dir={layout.Kubelet}",
        $"--port={options.KubeletPort}", $"--tls-cert-file={Pki("kubelet.crt")}", $"--tls-private-key-file={Pki("kubelet.key")}", $"--client-ca-file={Pki("ca.crt")}",
        "--cgroup-driver=cgroupfs", $"--pod-manifest-path={layout.Manifests}",
    ];

    /// <summary>The pods' range of this node, as written into the CNI configuration.</summary>
    public string PodRange => podRange;
}
