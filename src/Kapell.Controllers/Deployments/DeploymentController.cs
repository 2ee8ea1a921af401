using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Deployments;

/// <summary>Rolls a Deployment's template out over ReplicaSets (pkg/controller/deployment). This part decides when; <see cref="Rollout"/> does it.</summary>
internal sealed class DeploymentController : IReconciler<ObjectKey>
{
    private readonly Informer _deployments;
    private readonly Informer _replicaSets;
    private readonly Informer _pods;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly Claims _claims;
    private readonly Rollout _rollout;

    private DeploymentController(ControllerContext context)
    {
        KubeClient client = context.ClientFor("deployment-controller");
        _deployments = context.Informers.For(Resources.Deployments);
        _replicaSets = context.Informers.For(Resources.ReplicaSets);
        _pods = context.Informers.For(Resources.Pods);
        _queue = context.Queue();
        _claims = new Claims(client, Resources.Deployments, Resources.ReplicaSets, _replicaSets);
        _rollout = new Rollout(client, context.RecorderFor("deployment-controller", client), _pods, context.Time);
        _replicaSets.AddIndex(Owners.ControllerIndexName, Owners.ControllerIndex);
        _pods.AddIndex(Owners.ControllerIndexName, Owners.ControllerIndex);
        _deployments.AddHandler(InformerHandler.ForAll(d => _queue.Add(d.Key)));
        _replicaSets.AddHandler(new InformerHandler
        {
            OnAdded = SetChanged,
            OnUpdated = (old, now) =>
            {
                if (Owners.ControllerOf(old)?.Uid != Owners.ControllerOf(now)?.Uid)
                {
                    SetChanged(old);
                }

                SetChanged(now);
            },
            OnDeleted = SetChanged,
        });
        _pods.AddHandler(new InformerHandler { OnDeleted = PodDeleted, OnUpdated = (_, pod) => PodFinished(pod) });
    }

    public string Name => "deployment-controller";

    public static IController Create(ControllerContext context)
    {
        DeploymentController c = new(context);
        return new QueueController<ObjectKey>(
            c, c._queue, context.Options.ConcurrentDeploymentSyncs, [c._deployments, c._replicaSets, c._pods], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_deployments.Get(key) is not { } d)
        {
            return ReconcileResult.Done;
        }

        LabelMatch selector = LabelMatch.Of(d.Spec.Get("selector"));
        if (selector.IsEmpty)
        {
            await _rollout.RefuseAllAsync(d, cancellation);
            return ReconcileResult.Done;
        }

        List<KubeObject> sets = await _claims.ClaimAsync(d, selector, _ => true, cancellation);
        TimeSpan? again = await _rollout.SyncAsync(d, sets, cancellation);
        return new ReconcileResult(again);
    }

    private void SetChanged(KubeObject set)
    {
        if (Owners.ControllerOf(set) is { } owner)
        {
            if (owner.Kind == "Deployment" && _deployments.Get(new ObjectKey(set.Namespace, owner.Name)) is { } d && d.Uid == owner.Uid)
            {
                _queue.Add(d.Key);
            }

            return;
        }

        foreach (KubeObject d in _deployments.Store.List(set.Namespace).Where(d => LabelMatch.Of(d.Spec.Get("selector")).Matches(set.Labels)))
        {
            _queue.Add(d.Key);
        }
    }

    // Recreate waits for old pods to be gone, which no replica set's event tells (deployment_controller.go: deletePod).
    private void PodDeleted(KubeObject pod)
    {
        if (Owners.ControllerOf(pod) is { Kind: "ReplicaSet" } r && _replicaSets.Get(new ObjectKey(pod.Namespace, r.Name)) is { } set && set.Uid == r.Uid
            && Owners.ControllerOf(set) is { Kind: "Deployment" } owner && _deployments.Get(new ObjectKey(pod.Namespace, owner.Name)) is { } d
            && d.Spec.Get("strategy").Text("type") == "Recreate")
        {
            _queue.Add(d.Key);
        }
    }

    private void PodFinished(KubeObject pod)
    {
        if (pod.IsFinished())
        {
            PodDeleted(pod);
        }
    }
}
