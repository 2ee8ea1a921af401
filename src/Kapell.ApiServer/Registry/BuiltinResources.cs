using Kapell.ApiServer.Registry.Resources;

namespace Kapell.ApiServer.Registry;

/// <summary>The resources built into the server, one record each, in discovery order.</summary>
public static class BuiltinResources
{
    public static IReadOnlyList<ResourceDefinition> All { get; } =
    [
        ConfigMapResource.Definition,
        EndpointsResource.Definition,
        EventResource.Definition,
        QuotaResources.LimitRange,
        NamespaceResource.Definition,
        NodeResource.Definition,
        StorageResources.PersistentVolumeClaim,
        StorageResources.PersistentVolume,
        PodResource.Definition,
        TemplateResources.PodTemplate,
        TemplateResources.ReplicationController,
        QuotaResources.ResourceQuota,
        SecretResource.Definition,
        ServiceAccountResource.Definition,
        ServiceResource.Definition,
        ControllerRevisionResource.Definition,
        DaemonSetResource.Definition,
        DeploymentResource.Definition,
        ReplicaSetResource.Definition,
        StatefulSetResource.Definition,
        EventsV1Resource.Definition,
        AutoscalerResource.Definition,
        CronJobResource.Definition,
        JobResource.Definition,
        NetworkingResources.IngressClass,
        NetworkingResources.Ingress,
        NetworkingResources.NetworkPolicy,
        PodDisruptionBudgetResource.Definition,
        BindingResources.ClusterRoleBinding,
        RoleResources.ClusterRole,
        BindingResources.RoleBinding,
        RoleResources.Role,
        LeaseResource.Definition,
        RuntimeClassResource.Definition,
        StorageResources.CsiDriver,
        StorageResources.CsiNode,
        StorageResources.StorageClass,
        StorageResources.VolumeAttachment,
        EndpointSliceResource.Definition,
        PriorityClassResource.Definition,
    ];
}
