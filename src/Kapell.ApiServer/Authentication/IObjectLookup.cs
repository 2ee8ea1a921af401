using Kapell.ApiServer.Authorization;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authentication;

/// <summary>Finds single objects of core kinds. Null when there is none (production: mirrors before the store; tests: a dictionary).</summary>
internal interface IObjectLookup
{
    ValueTask<KubeObject?> FindAsync(string group, string resource, ObjectKey key, CancellationToken cancel);
}

/// <summary>Looks in the mirrors first and asks the store when they have nothing, or for resources without a mirror.</summary>
internal sealed class StoreLookup(ResourceSet resources, IObjectStore store, IReadOnlyList<StoreMirror> mirrors) : IObjectLookup
{
    public async ValueTask<KubeObject?> FindAsync(string group, string resource, ObjectKey key, CancellationToken cancel)
    {
        foreach (StoreMirror mirror in mirrors)
        {
            if (mirror.Resource.Plural == resource && mirror.Resource.Group == group)
            {
                return await mirror.FindAsync(key, cancel);
            }
        }

        ResourceDefinition? definition = resources.Find(group, resource);
        return definition is null ? null : await store.GetAsync(definition, key, cancel);
    }
}
