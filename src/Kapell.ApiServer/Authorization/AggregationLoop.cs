using System.Text.Json.Nodes;
using System.Threading.Channels;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authorization;

/// <summary>Keeps the rules of aggregated ClusterRoles equal to the union of what they select, after each change of any ClusterRole.</summary>
internal sealed class AggregationLoop
{
    private readonly RbacIndex _index;
    private readonly IObjectStore _store;
    private readonly ResourceDefinition _clusterRoles;
    private readonly Channel<bool> _changed = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    public AggregationLoop(RbacIndex index, IObjectStore store, StoreMirror clusterRoles)
    {
        _index = index;
        _store = store;
        _clusterRoles = clusterRoles.Resource;
        clusterRoles.Listen(_ => _changed.Writer.TryWrite(true), _ => _changed.Writer.TryWrite(true));
    }

    public async Task RunAsync(CancellationToken cancel)
    {
        await foreach (bool _ in _changed.Reader.ReadAllAsync(cancel))
        {
            foreach (KubeObject role in _index.ClusterRoles.Where(r => RbacAggregation.IsAggregated(r.Root)).ToArray())
            {
                await AggregateAsync(role, cancel);
            }
        }
    }

    private async Task AggregateAsync(KubeObject role, CancellationToken cancel)
    {
        List<PolicyRule> union = RbacAggregation.Union(role, _index.ClusterRoles);
        if (RbacAggregation.SameRules(union, PolicyRule.ListFrom(role.Root)))
        {
            return;
        }

        try
        {
            await _store.UpdateAsync(_clusterRoles, role.Key, new Preconditions(Uid: role.Uid), current =>
            {
                current["rules"] = new JsonArray([.. union.Select(r => (JsonNode)r.ToJson())]);
                return current;
            }, cancel);
        }
        catch (StatusException e) when (e.IsNotFound || e.IsConflict)
        {
            // Deleted or made anew meanwhile: the watch will say so.
        }
    }
}
