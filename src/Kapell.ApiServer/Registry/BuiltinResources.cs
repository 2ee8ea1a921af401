namespace Kapell.ApiServer.Registry;

/// <summary>The resources built into the server, one record each, in discovery order.</summary>
public static class BuiltinResources
{
    public static IReadOnlyList<ResourceDefinition> All { get; } = [];
}
