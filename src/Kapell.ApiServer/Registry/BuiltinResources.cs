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
        NamespaceResource.Definition,
        NodeResource.Definition,
        PodResource.Definition,
        SecretResource.Definition,
        ServiceAccountResource.Definition,
        ServiceResource.Definition,
        ControllerRevisionResource.Definition,
        DaemonSetResource.Definition,
        DeploymentResource.Definition,
        ReplicaSetResource.Definition,
        StatefulSetResource.Definition,
        EventsV1Resource.Definition,
        CronJobResource.Definition,
        JobResource.Definition,
        PodDisruptionBudgetResource.Definition,
        BindingResources.ClusterRoleBinding,
        RoleResources.ClusterRole,
        BindingResources.RoleBinding,
        RoleResources.Role,
        LeaseResource.Definition,
        RuntimeClassResource.Definition,
        EndpointSliceResource.Definition,
        PriorityClassResource.Definition,
    ];
}
