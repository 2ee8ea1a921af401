using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Jobs;

/// <summary>Deletes finished jobs once their ttlSecondsAfterFinished has passed (pkg/controller/ttlafterfinished).</summary>
internal sealed class TtlAfterFinishedController : IReconciler<ObjectKey>
{
    private readonly KubeClient _client;
    private readonly Informer _jobs;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly TimeProvider _time;

    private TtlAfterFinishedController(ControllerContext context)
    {
        _client = context.ClientFor("ttl-after-finished-controller");
        _time = context.Time;
        _jobs = context.Informers.For(Resources.Jobs);
        _queue = context.Queue();
        _jobs.AddHandler(new InformerHandler { OnAdded = Consider, OnUpdated = (_, j) => Consider(j) });
    }

    public string Name => "ttl-after-finished-controller";

    public static IController Create(ControllerContext context)
    {
        TtlAfterFinishedController c = new(context);
        return new QueueController<ObjectKey>(c, c._queue, context.Options.ConcurrentTtlAfterFinishedSyncs, [c._jobs], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_jobs.Get(key) is not { } cached || ExpiresAt(cached) is not { } cachedTime)
        {
            return ReconcileResult.Done;
        }

        DateTimeOffset now = _time.GetUtcNow();
        if (cachedTime > now)
        {
            return ReconcileResult.After(cachedTime - now);
        }

        try
        {
            // The time may have been raised a moment ago: the server decides.
            KubeObject job = await _client.GetAsync(Resources.Jobs, key, cancellation);
            if (ExpiresAt(job) is { } at && at <= now)
            {
                await _client.DeleteAsync(Resources.Jobs, key, new DeleteOptions
                {
                    PropagationPolicy = "Foreground", PreconditionUid = job.Uid, PreconditionResourceVersion = job.ResourceVersion,
                }, cancellation);
            }
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            // Gone already.
        }

        return ReconcileResult.Done;
    }

    /// <summary>Null for jobs that never expire. Pure.</summary>
    internal static DateTimeOffset? ExpiresAt(KubeObject job) =>
        !job.IsDeleting && job.Spec.Has("ttlSecondsAfterFinished") && JobView.FinishedCondition(job) is { } c
            && Times.TryParse(c.Text("lastTransitionTime"), out DateTimeOffset t)
            ? t.AddSeconds(job.Spec.Long("ttlSecondsAfterFinished")) : null;

    private void Consider(KubeObject job)
    {
        if (ExpiresAt(job) is not null)
        {
            _queue.Add(job.Key);
        }
    }
}
