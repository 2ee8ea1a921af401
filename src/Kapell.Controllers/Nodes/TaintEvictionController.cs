using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Nodes;

/// <summary>Deletes pods from nodes whose NoExecute taints they do not tolerate, or no longer (pkg/controller/tainteviction).</summary>
internal sealed class TaintEvictionController : IReconciler<ObjectKey>
{
    public const string NodeIndex = "node";
    private readonly KubeClient _client;
    private readonly EventRecorder _events;
    private readonly Informer _pods;
    private readonly Informer _nodes;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly TimeProvider _time;

    private TaintEvictionController(ControllerContext context)
    {
        _client = context.ClientFor("node-controller");
        _events = context.RecorderFor("taint-eviction-controller", _client);
        _time = context.Time;
        _pods = context.Informers.For(Resources.Pods);
        _nodes = context.Informers.For(Resources.Nodes);
        _pods.AddIndex(NodeIndex, p => [p.NodeName()]);
        _queue = context.Queue();
        _pods.AddHandler(new InformerHandler
        {
            OnAdded = p => _queue.Add(p.Key),
            OnUpdated = (old, p) =>
            {
                if (old.NodeName() != p.NodeName() || old.Spec.Get("tolerations").ToString() != p.Spec.Get("tolerations").ToString())
                {
                    _queue.Add(p.Key);
                }
            },
        });
        _nodes.AddHandler(new InformerHandler
        {
            OnAdded = AddPods,
            OnUpdated = (old, n) =>
            {
                if (old.Spec.Get("taints").ToString() != n.Spec.Get("taints").ToString())
                {
                    AddPods(n);
                }
            },
        });
    }

    public string Name => "taint-eviction-controller";

    public static IController Create(ControllerContext context)
    {
        TaintEvictionController c = new(context);
        return new QueueController<ObjectKey>(c, c._queue, 4, [c._pods, c._nodes], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_pods.Get(key) is not { } pod || pod.IsDeleting || pod.IsFinished() || _nodes.Get(new ObjectKey("", pod.NodeName())) is not { } node)
        {
            return ReconcileResult.Done;
        }

        DateTimeOffset now = _time.GetUtcNow();
        if (NodeTaints.EvictionTime(pod, node, now) is not { } when)
        {
            return ReconcileResult.Done;
        }

        if (when > now)
        {
            return ReconcileResult.After(when - now);
        }

        _events.Normal(pod, "TaintManagerEviction", $"Marking for deletion Pod {pod.Key}");
        await EvictAsync(pod, cancellation);
        return ReconcileResult.Done;
    }

    private async Task EvictAsync(KubeObject pod, CancellationToken cancellation)
    {
        try
        {
            JsonObject patch = Disruption.Patch(pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", _time.GetUtcNow());
            await _client.PatchAsync(Resources.Pods, pod.Key, PatchKind.Strategic, patch, RequestOptions.For("status"), cancellation);
            await _client.DeleteAsync(Resources.Pods, pod.Key, new DeleteOptions { PreconditionUid = pod.Uid }, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound || e.IsConflict)
        {
            // Gone, or another pod of that name now.
        }
    }

    private void AddPods(KubeObject node)
    {
        foreach (KubeObject pod in _pods.Store.ByIndex(NodeIndex, node.Name))
        {
            _queue.Add(pod.Key);
        }
    }
}
