using Kapell.Controllers.Deployments;
using Kapell.Controllers.Namespaces;
using Kapell.Controllers.ReplicaSets;
using Kapell.Controllers.ServiceAccounts;

namespace Kapell.Controllers;

/// <summary>Every controller by upstream's name (cmd/kube-controller-manager/names), in starting order.</summary>
internal static class ControllerRegistry
{
    public static readonly IReadOnlyList<(string Name, string Alias, Func<ControllerContext, IController?> Create)> All =
    [
        ("serviceaccount-controller", "serviceaccount", DefaultServiceAccountController.Create),
        ("serviceaccount-token-controller", "serviceaccount-token", c => c.Options.TokenSigner is { } signer ? TokenSecretController.Create(c, signer) : null),
        ("root-ca-certificate-publisher-controller", "root-ca-cert-publisher", c => c.Options.RootCa.Length > 0 ? RootCaPublisher.Create(c) : null),
        ("namespace-controller", "namespace", NamespaceController.Create),
        ("replicaset-controller", "replicaset", ReplicaSetController.Create),
        ("node-ipam-controller", "nodeipam", c => c.Options.AllocateNodeCidrs ? Nodes.NodeIpamController.Create(c) : null),
        ("node-lifecycle-controller", "nodelifecycle", Nodes.NodeLifecycleController.Create),
        ("taint-eviction-controller", "taint-eviction-controller", Nodes.TaintEvictionController.Create),
        ("daemonset-controller", "daemonset", DaemonSets.DaemonSetController.Create),
        ("statefulset-controller", "statefulset", StatefulSets.StatefulSetController.Create),
        ("job-controller", "job", Jobs.JobController.Create),
        ("cronjob-controller", "cronjob", CronJobs.CronJobController.Create),
        ("disruption-controller", "disruption", Disruptions.DisruptionController.Create),
        ("ttl-after-finished-controller", "ttl-after-finished", Jobs.TtlAfterFinishedController.Create),
        ("pod-garbage-collector-controller", "podgc", PodGc.PodGarbageCollector.Create),
        ("endpointslice-controller", "endpointslice", Endpoints.EndpointSliceController.Create),
        ("endpoints-controller", "endpoint", Endpoints.EndpointsController.Create),
        ("garbage-collector-controller", "garbagecollector", GarbageCollection.GarbageCollector.Create),
        ("deployment-controller", "deployment", DeploymentController.Create),
    ];

    /// <summary>What --controllers means: <c>*</c> all, <c>foo</c> on, <c>-foo</c> off; names or old aliases.</summary>
    public static bool IsEnabled(IReadOnlyList<string> wanted, string name, string alias)
    {
        if (wanted.Contains("-" + name) || wanted.Contains("-" + alias))
        {
            return false;
        }

        return wanted.Contains("*") || wanted.Contains(name) || wanted.Contains(alias);
    }
}
