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
        DeploymentResource.Definition,
        ReplicaSetResource.Definition,
        EventsV1Resource.Definition,
        LeaseResource.Definition,
    ];
}
