using Kapell.Base;

namespace Kapell.Controllers;

/// <summary>The flags of kube-controller-manager that mean something here, under upstream's names and defaults.</summary>
internal sealed class ControllerManagerFlags
{
    private readonly FlagValue<int> _deployments, _replicaSets, _daemonSets, _statefulSets, _cronJobs, _jobs, _namespaces, _endpoints, _slices, _gc, _ttl, _tokens, _maskSize, _podGc;
    private readonly FlagValue<bool> _allocateCidrs;
    private readonly FlagValue<string> _clusterCidr, _rootCaFile, _privateKeyFile;
    private readonly FlagValue<TimeSpan> _monitorPeriod, _monitorGrace, _startupGrace;

    public ControllerManagerFlags()
    {
        Set = new FlagSet("kube-controller-manager", "The controllers of a Kubernetes cluster in one program; one instance leads at a time.");
        Kubeconfig = Set.String("kubeconfig", "", "Path to kubeconfig file with authorization and master location information.");
        Qps = Set.Double("kube-api-qps", 0, "QPS to use while talking with the API server (0: no limit).");
        Burst = Set.Int("kube-api-burst", 30, "Burst to use while talking with the API server.");
        Controllers = Set.List("controllers", ["*"], "Controllers to enable: '*' all on by default, 'foo' on, '-foo' off.");
        _ = Set.String("bind-address", "127.0.0.1", "Accepted for upstream's sake: no port is served yet.");
        _ = Set.Int("secure-port", 0, "Accepted for upstream's sake: no port is served yet.");
        _ = Set.String("authentication-kubeconfig", "", "Accepted for upstream's sake: no port is served yet.");
        _ = Set.String("authorization-kubeconfig", "", "Accepted for upstream's sake: no port is served yet.");
        _ = Set.String("cluster-name", "kubernetes", "The instance prefix for the cluster.");
        _ = Set.String("service-cluster-ip-range", "", "CIDR Range for Services in cluster.");
        _ = Set.Int("v", 0, "Log verbosity; set by the program's own logging.");

        Set.Group("Leader election");
        LeaderElect = Set.Bool("leader-elect", true, "Become the leader before working.");
        LeaderElectIdentity = Set.String("leader-elect-identity", "",
            "Who we are in the lease; empty for host name and a random part. A fixed one takes its own lease again at once after a crash.");
        LeaseName = Set.String("leader-elect-resource-name", "kube-controller-manager", "Name of the lease.");
        LeaseNamespace = Set.String("leader-elect-resource-namespace", "kube-system", "Namespace of the lease.");
        LeaseDuration = Set.Duration("leader-elect-lease-duration", TimeSpan.FromSeconds(15), "How long others wait for a silent leader.");
        RenewDeadline = Set.Duration("leader-elect-renew-deadline", TimeSpan.FromSeconds(10), "How long a leader tries to renew before it gives up.");
        RetryPeriod = Set.Duration("leader-elect-retry-period", TimeSpan.FromSeconds(2), "Wait between tries.");

        Set.Group("Controllers");
        _deployments = Set.Int("concurrent-deployment-syncs", 5, "Deployments synced at once.");
        _replicaSets = Set.Int("concurrent-replicaset-syncs", 5, "Replica sets synced at once.");
        _daemonSets = Set.Int("concurrent-daemonset-syncs", 2, "Daemon sets synced at once.");
        _statefulSets = Set.Int("concurrent-statefulset-syncs", 5, "Stateful sets synced at once.");
        _cronJobs = Set.Int("concurrent-cron-job-syncs", 5, "Cron jobs synced at once.");
        _jobs = Set.Int("concurrent-job-syncs", 5, "Jobs synced at once.");
        _namespaces = Set.Int("concurrent-namespace-syncs", 10, "Namespaces synced at once.");
        _endpoints = Set.Int("concurrent-endpoint-syncs", 5, "Endpoints synced at once.");
        _slices = Set.Int("concurrent-service-endpoint-syncs", 5, "Services whose endpoint slices are synced at once.");
        _gc = Set.Int("concurrent-gc-syncs", 20, "Garbage collector workers.");
        _ttl = Set.Int("concurrent-ttl-after-finished-syncs", 5, "TTL-after-finished workers.");
        _tokens = Set.Int("concurrent-serviceaccount-token-syncs", 5, "Service account token secrets synced at once.");
        _podGc = Set.Int("terminated-pod-gc-threshold", 12500, "Terminated pods kept before the oldest are deleted; 0 keeps all.");
        _monitorPeriod = Set.Duration("node-monitor-period", TimeSpan.FromSeconds(5), "How often node health is looked at.");
        _monitorGrace = Set.Duration("node-monitor-grace-period", TimeSpan.FromSeconds(40), "How long a node may be silent before it counts as unhealthy.");
        _startupGrace = Set.Duration("node-startup-grace-period", TimeSpan.FromMinutes(1), "The same for a node that has never reported.");
        _allocateCidrs = Set.Bool("allocate-node-cidrs", false, "Give each node a range of --cluster-cidr for its pods.");
        _clusterCidr = Set.String("cluster-cidr", "", "CIDR range for pods in the cluster.");
        _maskSize = Set.Int("node-cidr-mask-size", 24, "Mask size for a node's range.");
        _rootCaFile = Set.String("root-ca-file", "", "Authority published to every namespace as kube-root-ca.crt.");
        _privateKeyFile = Set.String("service-account-private-key-file", "", "Private RSA or ECDSA key that signs service account token secrets.");
        ServiceAccountCredentials = Set.Bool("use-service-account-credentials", false, "Use a service account of its own for each controller.");
        Set.Examples.Add("kube-controller-manager --kubeconfig=controller-manager.kubeconfig --root-ca-file=ca.crt");
    }

    public FlagSet Set { get; }

    public FlagValue<string> Kubeconfig { get; }

    public FlagValue<double> Qps { get; }

    public FlagValue<int> Burst { get; }

    public FlagValue<IReadOnlyList<string>> Controllers { get; }

    public FlagValue<bool> ServiceAccountCredentials { get; }

    public FlagValue<bool> LeaderElect { get; }

    public FlagValue<string> LeaderElectIdentity { get; }

    public FlagValue<string> LeaseName { get; }

    public FlagValue<string> LeaseNamespace { get; }

    public FlagValue<TimeSpan> LeaseDuration { get; }

    public FlagValue<TimeSpan> RenewDeadline { get; }

    public FlagValue<TimeSpan> RetryPeriod { get; }

    /// <summary>Refuses what cannot work.</summary>
    public void Check()
    {
        if (Kubeconfig.Value.Length == 0)
        {
            throw new FlagException("--kubeconfig is required: name the kubeconfig file with the API server's address and credentials");
        }

        if (Set.Arguments.Count > 0)
        {
            throw new FlagException($"unknown argument \"{Set.Arguments[0]}\"");
        }

        foreach (string name in Controllers.Value.Where(n => n != "*").Select(n => n.TrimStart('-')))
        {
            if (!ControllerRegistry.All.Any(c => c.Name == name || c.Alias == name))
            {
                throw new FlagException($"\"{name}\" is not in the list of known controllers");
            }
        }

        if (_allocateCidrs.Value && _clusterCidr.Value.Length == 0)
        {
            throw new FlagException("--cluster-cidr is required when --allocate-node-cidrs is set");
        }

        if (LeaseDuration.Value <= RenewDeadline.Value || RenewDeadline.Value <= RetryPeriod.Value * 1.2)
        {
            throw new FlagException("leader election: lease-duration must be longer than renew-deadline, and that longer than 1.2 times retry-period");
        }
    }

    public ControllerOptions Options() => new()
    {
        ConcurrentDeploymentSyncs = _deployments.Value, ConcurrentReplicaSetSyncs = _replicaSets.Value, ConcurrentDaemonSetSyncs = _daemonSets.Value,
        ConcurrentStatefulSetSyncs = _statefulSets.Value, ConcurrentCronJobSyncs = _cronJobs.Value,
        ConcurrentJobSyncs = _jobs.Value, ConcurrentNamespaceSyncs = _namespaces.Value, ConcurrentEndpointSyncs = _endpoints.Value,
        ConcurrentServiceEndpointSyncs = _slices.Value, ConcurrentGcSyncs = _gc.Value, ConcurrentTtlAfterFinishedSyncs = _ttl.Value,
        ConcurrentServiceAccountTokenSyncs = _tokens.Value, TerminatedPodGcThreshold = _podGc.Value, NodeMonitorPeriod = _monitorPeriod.Value,
        NodeMonitorGracePeriod = _monitorGrace.Value, NodeStartupGracePeriod = _startupGrace.Value, AllocateNodeCidrs = _allocateCidrs.Value,
        ClusterCidr = _clusterCidr.Value, NodeCidrMaskSize = _maskSize.Value,
        TokenSigner = _privateKeyFile.Value.Length > 0 ? ServiceAccounts.TokenSigner.Load(_privateKeyFile.Value) : null,
        RootCa = _rootCaFile.Value.Length > 0 ? File.ReadAllText(_rootCaFile.Value) : "",
    };
}
