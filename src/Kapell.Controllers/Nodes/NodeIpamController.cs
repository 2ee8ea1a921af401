using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Nodes;

/// <summary>
/// Gives each node a block of the cluster's pod range (pkg/controller/nodeipam). One worker: what is taken is what the nodes in the cache
/// say, and what was given a moment ago.
/// </summary>
internal sealed class NodeIpamController : IReconciler<ObjectKey>
{
    private readonly KubeClient _client;
    private readonly EventRecorder _events;
    private readonly Informer _nodes;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly CidrBlocks _blocks;
    private readonly Dictionary<string, string> _given = new(StringComparer.Ordinal); // the worker's own

    private NodeIpamController(ControllerContext context, CidrBlocks blocks)
    {
        _client = context.ClientFor("node-controller");
        _events = context.RecorderFor("cidrAllocator", _client);
        _blocks = blocks;
        _nodes = context.Informers.For(Resources.Nodes);
        _queue = context.Queue();
        _nodes.AddHandler(InformerHandler.ForAll(n => _queue.Add(n.Key)));
    }

    public string Name => "node-ipam-controller";

    public static IController? Create(ControllerContext context)
    {
        // Dual-stack ranges are comma-separated: the first family is served.
        string range = context.Options.ClusterCidr.Split(',')[0].Trim();
        int mask = range.Contains(':', StringComparison.Ordinal) ? 64 : context.Options.NodeCidrMaskSize;
        CidrBlocks blocks = CidrBlocks.Parse(range, mask)
            ?? throw new Base.FlagException($"--cluster-cidr={range}: no range that can be cut into blocks of /{mask}");
        NodeIpamController c = new(context, blocks);
        return new QueueController<ObjectKey>(c, c._queue, 1, [c._nodes], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_nodes.Get(key) is not { } node)
        {
            _given.Remove(key.Name);
            return ReconcileResult.Done;
        }

        if (node.Spec.Text("podCIDR").Length > 0)
        {
            _given.Remove(key.Name);
            return ReconcileResult.Done;
        }

        HashSet<string> taken = [.. _nodes.List().Select(n => n.Spec.Text("podCIDR")), .. _given.Values];
        string? block = _given.GetValueOrDefault(key.Name) ?? _blocks.FirstFree(taken);
        if (block is null)
        {
            _events.Normal(node, "CIDRNotAvailable", $"Node {node.Name} status is now: CIDRNotAvailable");
            return ReconcileResult.After(TimeSpan.FromSeconds(30));
        }

        _given[key.Name] = block;
        JsonObject patch = new()
        {
            ["metadata"] = new JsonObject { ["uid"] = node.Uid },
            ["spec"] = new JsonObject { ["podCIDR"] = block, ["podCIDRs"] = new JsonArray(block) },
        };
        try
        {
            await _client.PatchAsync(Resources.Nodes, key, PatchKind.Strategic, patch, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            _given.Remove(key.Name);
        }

        return ReconcileResult.Done;
    }
}
