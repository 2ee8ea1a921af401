using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.GarbageCollection;

/// <summary>Who an object is: enough to ask the server for it.</summary>
internal readonly record struct ObjectIdentity(string ApiVersion, string Kind, ObjectKey Key, string Uid)
{
    public string Group => ApiVersion.Contains('/', StringComparison.Ordinal) ? ApiVersion[..ApiVersion.IndexOf('/', StringComparison.Ordinal)] : "";
}

/// <summary>What one node of the graph looked like at one moment.</summary>
internal sealed record NodeState(
    ObjectIdentity Identity, IReadOnlyList<OwnerReference> Owners, IReadOnlyList<ObjectIdentity> Dependents,
    bool IsVirtual, bool IsBeingDeleted, bool IsDeletingDependents);

/// <summary>What an event asks the collector to do: uids to look at, uids whose dependents are to be orphaned.</summary>
internal sealed class GraphWork
{
    public HashSet<string> Delete { get; } = new(StringComparer.Ordinal);

    public HashSet<string> Orphan { get; } = new(StringComparer.Ordinal);
}

/// <summary>
/// Owners and dependents by uid (garbagecollector/graph_builder.go). A pure machine: events in, work out; no clock, no task, no client.
/// An owner that was never seen stands in it as a virtual node until it is seen or found absent.
/// </summary>
internal sealed class OwnerGraph
{
    public const string OrphanFinalizer = "orphan";
    public const string ForegroundFinalizer = "foregroundDeletion";
    private readonly Dictionary<string, Node> _nodes = new(StringComparer.Ordinal);

    public int Count => _nodes.Count;

    public GraphWork Seen(KubeObject o, Func<OwnerReference, string, ObjectKey> ownerKey)
    {
        GraphWork work = new();
        ObjectIdentity identity = new(o.ApiVersion, o.Kind, o.Key, o.Uid);
        OwnerReference[] owners = [.. Owners.Of(o).DistinctBy(r => r.Uid)];
        if (!_nodes.TryGetValue(o.Uid, out Node? node))
        {
            node = new Node(identity);
            _nodes.Add(o.Uid, node);
        }
        else if (node.IsVirtual && node.Identity != identity)
        {
            // The reference named it wrongly (kind, name or namespace): dependents must judge again by what is true.
            work.Delete.UnionWith(node.Dependents);
        }

        node.Identity = identity;
        node.IsVirtual = false;
        SetOwners(node, owners, ownerKey, work);
        bool wasDeletingDependents = node.IsDeletingDependents;
        node.IsBeingDeleted = o.IsDeleting;
        HashSet<string> finalizers = [.. o.Metadata.Items("finalizers").Select(f => f.GetString() ?? "")];
        if (o.IsDeleting && finalizers.Contains(OrphanFinalizer))
        {
            work.Orphan.Add(o.Uid);
        }

        if (o.IsDeleting && finalizers.Contains(ForegroundFinalizer))
        {
            node.IsDeletingDependents = true;
            work.Delete.Add(o.Uid);
            if (!wasDeletingDependents)
            {
                work.Delete.UnionWith(node.Dependents);
            }
        }

        return work;
    }

    /// <summary>The object is gone (or was found never to have been).</summary>
    public GraphWork Gone(string uid)
    {
        GraphWork work = new();
        if (!_nodes.TryGetValue(uid, out Node? node))
        {
            return work;
        }

        foreach (OwnerReference r in node.Owners)
        {
            if (_nodes.TryGetValue(r.Uid, out Node? owner))
            {
                owner.Dependents.Remove(uid);
                if (owner.IsDeletingDependents)
                {
                    work.Delete.Add(r.Uid);
                }

                DropIfUnused(owner);
            }
        }

        work.Delete.UnionWith(node.Dependents);
        if (node.Dependents.Count == 0)
        {
            _nodes.Remove(uid);
        }
        else
        {
            // Dependents still point here: the node stays as a virtual one until they are gone or point elsewhere.
            node.IsVirtual = true;
            node.IsBeingDeleted = false;
            node.IsDeletingDependents = false;
            node.Owners = [];
        }

        return work;
    }

    public NodeState? Get(string uid) => !_nodes.TryGetValue(uid, out Node? n) ? null : new NodeState(
        n.Identity, n.Owners, [.. n.Dependents.Select(d => _nodes[d].Identity)], n.IsVirtual, n.IsBeingDeleted, n.IsDeletingDependents);

    /// <summary>Dependents that hold back the foreground deletion of their owner.</summary>
    public IReadOnlyList<string> Blocking(string uid) => !_nodes.TryGetValue(uid, out Node? n) ? []
        : [.. n.Dependents.Where(d => _nodes[d].Owners.Any(r => r.Uid == uid && r.BlockOwnerDeletion))];

    private void SetOwners(Node node, OwnerReference[] owners, Func<OwnerReference, string, ObjectKey> ownerKey, GraphWork work)
    {
        foreach (OwnerReference was in node.Owners)
        {
            OwnerReference now = Array.Find(owners, r => r.Uid == was.Uid);
            bool removed = now.Uid is null;
            if (_nodes.TryGetValue(was.Uid, out Node? owner))
            {
                if (removed)
                {
                    owner.Dependents.Remove(node.Identity.Uid);
                }

                // What no longer blocks may let a waiting owner go (addUnblockedOwnersToDeleteQueue).
                if (was.BlockOwnerDeletion && (removed || !now.BlockOwnerDeletion) && owner.IsDeletingDependents)
                {
                    work.Delete.Add(was.Uid);
                }

                if (removed)
                {
                    DropIfUnused(owner);
                }
            }
        }

        foreach (OwnerReference r in owners)
        {
            if (!_nodes.TryGetValue(r.Uid, out Node? owner))
            {
                owner = new Node(new ObjectIdentity(r.ApiVersion, r.Kind, ownerKey(r, node.Identity.Key.Namespace), r.Uid)) { IsVirtual = true };
                _nodes.Add(r.Uid, owner);
                work.Delete.Add(r.Uid);
            }

            if (owner.Dependents.Add(node.Identity.Uid) && owner.IsDeletingDependents)
            {
                work.Delete.Add(node.Identity.Uid);
            }
        }

        node.Owners = owners;
    }

    private void DropIfUnused(Node node)
    {
        if (node.IsVirtual && node.Dependents.Count == 0)
        {
            _nodes.Remove(node.Identity.Uid);
        }
    }

    private sealed class Node(ObjectIdentity identity)
    {
        public ObjectIdentity Identity { get; set; } = identity;

        public OwnerReference[] Owners { get; set; } = [];

        public HashSet<string> Dependents { get; } = new(StringComparer.Ordinal);

        public bool IsVirtual { get; set; }

        public bool IsBeingDeleted { get; set; }

        public bool IsDeletingDependents { get; set; }
    }
}
