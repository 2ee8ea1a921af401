using Kapell.Client;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.GarbageCollection;

/// <summary>Kinds to resources, as last discovered. Replaced whole; safe to read from any thread.</summary>
internal sealed class ResourceMap
{
    private volatile IReadOnlyDictionary<(string Group, string Kind), ApiResource> _byKind = new Dictionary<(string, string), ApiResource>();

    public ApiResource? Find(string group, string kind) => _byKind.GetValueOrDefault((group, kind));

    /// <summary>Where an owner named by an object in <paramref name="ns"/> lies: in that namespace, or in none.</summary>
    public ObjectKey OwnerKey(OwnerReference r, string ns)
    {
        int slash = r.ApiVersion.IndexOf('/', StringComparison.Ordinal);
        ApiResource? resource = Find(slash < 0 ? "" : r.ApiVersion[..slash], r.Kind);
        return new ObjectKey(resource is { Namespaced: false } ? "" : ns, r.Name);
    }

    /// <summary>Takes a discovery's result and answers the resources that can be collected: listable, watchable, deletable, and no events.</summary>
    public IReadOnlyList<ApiResource> Take(Discovered discovered)
    {
        Dictionary<(string, string), ApiResource> byKind = [];
        foreach (ApiResource r in discovered.Resources)
        {
            byKind.TryAdd((r.Resource.Group, r.Kind), r);
        }

        _byKind = byKind;
        return
        [
            .. discovered.Resources.Where(r => r.Verbs.Contains("list") && r.Verbs.Contains("watch") && r.Verbs.Contains("delete")
                && r.Resource != Resources.Events && r.Resource != Resources.EventsV1),
        ];
    }
}
