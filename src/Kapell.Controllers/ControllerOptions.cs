namespace Kapell.Controllers;

/// <summary>What the flags of the controller manager say, for the controllers.</summary>
internal sealed record ControllerOptions
{
    public int ConcurrentReplicaSetSyncs { get; init; } = 5;

    public int ConcurrentDeploymentSyncs { get; init; } = 5;

    public int ConcurrentNamespaceSyncs { get; init; } = 10;

    public int ConcurrentServiceAccountTokenSyncs { get; init; } = 5;

    public int ConcurrentDaemonSetSyncs { get; init; } = 2;

    public int ConcurrentStatefulSetSyncs { get; init; } = 5;

    public int ConcurrentCronJobSyncs { get; init; } = 5;

    public int ConcurrentJobSyncs { get; init; } = 5;

    public int ConcurrentEndpointSyncs { get; init; } = 5;

    public int ConcurrentServiceEndpointSyncs { get; init; } = 5;

    public int ConcurrentGcSyncs { get; init; } = 20;

    public int ConcurrentTtlAfterFinishedSyncs { get; init; } = 5;

    public bool AllocateNodeCidrs { get; init; }

    public string ClusterCidr { get; init; } = "";

    public int NodeCidrMaskSize { get; init; } = 24;

    /// <summary>The PEM text published as kube-root-ca.crt.</summary>
    public string RootCa { get; init; } = "";

    /// <summary>Null: token secrets are not filled.</summary>
    public ServiceAccounts.TokenSigner? TokenSigner { get; init; }

    public TimeSpan NodeMonitorPeriod { get; init; } = TimeSpan.FromSeconds(5);

    public TimeSpan NodeMonitorGracePeriod { get; init; } = TimeSpan.FromSeconds(40);

    public TimeSpan NodeStartupGracePeriod { get; init; } = TimeSpan.FromSeconds(60);

    public int TerminatedPodGcThreshold { get; init; } = 12500;
}
