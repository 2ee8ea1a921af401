using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Disruptions;

/// <summary>Keeps the status of PodDisruptionBudgets, from which the API server grants evictions (pkg/controller/disruption).</summary>
internal sealed class DisruptionController : IReconciler<ObjectKey>
{
    private readonly KubeClient _client;
    private readonly Informer _budgets;
    private readonly Informer _pods;
    private readonly Informer _replicaSets;
    private readonly Informer _deployments;
    private readonly Informer _statefulSets;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly EventRecorder _events;
    private readonly TimeProvider _time;

    private DisruptionController(ControllerContext context)
    {
        _client = context.ClientFor("disruption-controller");
        _time = context.Time;
        _budgets = context.Informers.For(Resources.PodDisruptionBudgets);
        _pods = context.Informers.For(Resources.Pods);
        _replicaSets = context.Informers.For(Resources.ReplicaSets);
        _deployments = context.Informers.For(Resources.Deployments);
        _statefulSets = context.Informers.For(Resources.StatefulSets);
        _queue = context.Queue();
        _events = context.RecorderFor("controllermanager", _client);
        _budgets.AddHandler(InformerHandler.ForAll(b => _queue.Add(b.Key)));
        _pods.AddHandler(new InformerHandler
        {
            OnAdded = AddMatching, OnDeleted = AddMatching,
            OnUpdated = (old, pod) =>
            {
                AddMatching(old);
                AddMatching(pod);
            },
        });
        foreach (Informer workloads in (Informer[])[_replicaSets, _deployments, _statefulSets])
        {
            workloads.AddHandler(new InformerHandler { OnUpdated = ScaleChanged });
        }
    }

    public string Name => "disruption-controller";

    public static IController Create(ControllerContext context)
    {
        DisruptionController c = new(context);
        return new QueueController<ObjectKey>(
            c, c._queue, 1, [c._budgets, c._pods, c._replicaSets, c._deployments, c._statefulSets], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_budgets.Get(key) is not { } budget || budget.IsDeleting)
        {
            return ReconcileResult.Done;
        }

        DateTimeOffset now = _time.GetUtcNow();
        LabelMatch selector = LabelMatch.Of(budget.Spec.Get("selector"));
        KubeObject[] pods = [.. _pods.Store.List(key.Namespace).Where(p => selector.Matches(p.Labels))];
        if (pods.Length == 0)
        {
            _events.Normal(budget, "NoPods", "No matching pods found");
        }

        long wanted = 0;
        if (BudgetPlan.CountsWorkloads(budget))
        {
            (wanted, string? fault) = Wanted(budget, pods);
            if (fault is not null)
            {
                _events.Warning(budget, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: " + fault);
                await UpdateStatusAsync(budget, BudgetPlan.Failed(budget, fault, now), cancellation);
                return ReconcileResult.Done;
            }
        }

        JsonObject disrupted = BudgetPlan.Disrupted(budget, pods, now, pod => _events.Warning(
            pod, "NotDeleted", $"Pod was expected by PDB {budget.Namespace}/{budget.Name} to be deleted but it wasn't"), out DateTimeOffset? recheck);
        await UpdateStatusAsync(budget, BudgetPlan.Status(budget, pods, BudgetPlan.Need(budget, wanted, pods.Length), disrupted, now), cancellation);
        return recheck is { } at ? ReconcileResult.After(at - now) : ReconcileResult.Done;
    }

    /// <summary>The sum of what the pods' workloads are scaled to; each workload counts once.</summary>
    private (long Wanted, string? Fault) Wanted(KubeObject budget, KubeObject[] pods)
    {
        Dictionary<string, long> scales = new(StringComparer.Ordinal);
        List<string> unmanaged = [];
        foreach (KubeObject pod in pods)
        {
            if (Owners.ControllerOf(pod) is not { } owner)
            {
                unmanaged.Add(pod.Name);
                continue;
            }

            if (scales.ContainsKey(owner.Uid))
            {
                continue;
            }

            if (Scaled(pod.Namespace, owner) is not { } workload)
            {
                if (owner.Kind is "ReplicaSet" or "StatefulSet" or "Deployment")
                {
                    continue; // Gone: its pods follow.
                }

                return (0, $"{owner.Kind.ToLowerInvariant()}s.{owner.ApiVersion.Split('/')[0]} does not implement the scale subresource");
            }

            scales[owner.Uid] = 0;
            scales[workload.Uid] = workload.Spec.Long("replicas", 1);
        }

        if (unmanaged.Count > 0)
        {
            _events.Warning(budget, "UnmanagedPods",
                $"Pods selected by this PodDisruptionBudget (selector: {budget.Spec.Get("selector")}) were found to be unmanaged. As a result, the status of the PDB "
                + "cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.");
        }

        return (scales.Values.Sum(), null);
    }

    // A replica set of a deployment does not count for itself: the deployment says how many pods there should be.
    private KubeObject? Scaled(string ns, OwnerReference owner)
    {
        Informer? from = owner.Kind switch
        {
            "ReplicaSet" => _replicaSets,
            "StatefulSet" => _statefulSets,
            "Deployment" => _deployments,
            _ => null,
        };
        KubeObject? found = from?.Get(new ObjectKey(ns, owner.Name));
        if (found is null || found.Uid != owner.Uid)
        {
            return null;
        }

        return owner.Kind == "ReplicaSet" && Owners.ControllerOf(found) is { Kind: "Deployment" } above ? Scaled(ns, above) : found;
    }

    private async Task UpdateStatusAsync(KubeObject budget, JsonObject status, CancellationToken cancellation)
    {
        if (!JsonNode.DeepEquals(status, budget.Status.Object()))
        {
            JsonObject json = budget.ToNode();
            json["status"] = status;
            await _client.UpdateStatusAsync(Resources.PodDisruptionBudgets, budget.Key, json, cancellation);
        }
    }

    private void AddMatching(KubeObject pod)
    {
        foreach (KubeObject budget in _budgets.Store.List(pod.Namespace).Where(b => LabelMatch.Of(b.Spec.Get("selector")).Matches(pod.Labels)))
        {
            _queue.Add(budget.Key);
        }
    }

    private void ScaleChanged(KubeObject old, KubeObject now)
    {
        if (old.Spec.Long("replicas", 1) != now.Spec.Long("replicas", 1))
        {
            foreach (KubeObject budget in _budgets.Store.List(now.Namespace))
            {
                _queue.Add(budget.Key);
            }
        }
    }
}
