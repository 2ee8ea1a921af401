using System.Globalization;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Jobs;

/// <summary>
/// Runs pods until a Job is complete or has failed (pkg/controller/job). Every finished pod is counted exactly once, whatever is restarted
/// or deleted meanwhile: its uid goes into the status first, then its finalizer comes off, then the count goes up (KEP-2307).
/// </summary>
internal sealed class JobController : IReconciler<ObjectKey>
{
    private const int PodsAtOnceMax = 500;
    private readonly Informer _jobs;
    private readonly Informer _pods;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly Expectations _expectations;
    private readonly PodControl _podControl;
    private readonly EventRecorder _events;
    private readonly Claims _claims;
    private readonly JobStatusWriter _writer;
    private readonly JobPods _jobPods;
    private readonly TimeProvider _time;

    private JobController(ControllerContext context)
    {
        KubeClient client = context.ClientFor("job-controller");
        _time = context.Time;
        _jobs = context.Informers.For(Resources.Jobs);
        _pods = context.Informers.For(Resources.Pods);
        _queue = context.Queue();
        _expectations = new Expectations(_time);
        _events = context.RecorderFor("job-controller", client);
        _podControl = new PodControl(client, _events);
        _jobPods = new JobPods(context.RandomFor());
        _writer = new JobStatusWriter(client, _time);
        _claims = new Claims(client, Resources.Jobs, Resources.Pods, _pods);
        _pods.AddIndex(Owners.ControllerIndexName, Owners.ControllerIndex);
        _jobs.AddHandler(InformerHandler.ForAll(j => _queue.Add(j.Key)));
        _pods.AddHandler(new InformerHandler
        {
            OnAdded = p => Notice(p, created: true), OnUpdated = (_, p) => Notice(p, created: false), OnDeleted = p => Notice(p, created: false, gone: true),
        });
    }

    public string Name => "job-controller";

    public static IController Create(ControllerContext context)
    {
        JobController c = new(context);
        return new QueueController<ObjectKey>(c, c._queue, context.Options.ConcurrentJobSyncs, [c._jobs, c._pods], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_jobs.Get(key) is not { } job)
        {
            _expectations.Forget(key);
            await FreeOrphansAsync(key, cancellation);
            return ReconcileResult.Done;
        }

        List<KubeObject> pods = await _claims.ClaimAsync(job, LabelMatch.Of(job.Spec.Get("selector")), _ => true, cancellation, JobView.TrackingFinalizer);
        if (JobView.FinishedCondition(job) is not null)
        {
            await _writer.FreeAsync(pods.Where(p => p.HasTracking()), cancellation);
            return ReconcileResult.Done;
        }

        DateTimeOffset now = _time.GetUtcNow();
        JobCount count = JobCount.Of(job, pods);
        DateTimeOffset? started = Times.TryParse(job.Status.Text("startTime"), out DateTimeOffset t) ? t : null;
        JobEnd? end = PendingEnd(job) ?? JobPlan.End(job, count, pods, started, now);
        TimeSpan? again = null;
        List<KubeObject> active = [.. count.Active];
        if (end is not null)
        {
            await StopAsync(job, end, active, cancellation);
        }
        else if (_expectations.Satisfied(key) && !job.IsDeleting)
        {
            again = await ScaleAsync(job, count, pods, active, cancellation);
        }

        JobProgress progress = new(job, count, active, end, pods.Any(p => !p.IsFinished()));
        bool finished = await _writer.WriteAsync(progress, pods, cancellation);
        TellSuspension(job);
        if (finished && end is not null)
        {
            _events.Record(job, end.Failed ? "Warning" : "Normal", end.Failed ? end.Reason : "Completed", end.Failed ? end.Message : "Job completed");
        }

        return new ReconcileResult(Sooner(again, DeadlineIn(job, started, now)));
    }

    private void TellSuspension(KubeObject job)
    {
        bool was = PodView.Condition(job, "Suspended").Text("status") == "True", now = job.Spec.Bool("suspend");
        if (was != now)
        {
            _events.Normal(job, now ? "Suspended" : "Resumed", now ? "Job suspended" : "Job resumed");
        }
    }

    /// <summary>An end that was written down before (FailureTarget, SuccessCriteriaMet) is kept, whatever the pods do now.</summary>
    private static JobEnd? PendingEnd(KubeObject job)
    {
        foreach (System.Text.Json.JsonElement c in job.Status.Items("conditions"))
        {
            if (c.Text("type") is "FailureTarget" or "SuccessCriteriaMet" && c.Text("status") == "True")
            {
                return new JobEnd(c.Text("type") == "FailureTarget", c.Text("reason"), c.Text("message"));
            }
        }

        return null;
    }

    private async Task<TimeSpan?> ScaleAsync(KubeObject job, JobCount count, List<KubeObject> pods, List<KubeObject> active, CancellationToken cancellation)
    {
        long wanted = JobPlan.WantedActive(job, count);
        if (active.Count > wanted)
        {
            KubeObject[] doomed = [.. ReplicaSets.PodRanking.ToDelete(active, active, (int)(active.Count - wanted))];
            _expectations.ExpectDeletions(job.Key, doomed.Select(p => p.Uid));
            // Without our finalizer their end counts as nothing: it is our doing, not a failure (deleteJobPods).
            await _writer.FreeAsync(doomed, cancellation);
            foreach (KubeObject pod in doomed)
            {
                if (!await _podControl.DeleteAsync(job, pod, cancellation))
                {
                    _expectations.DeletionObserved(job.Key, pod.Uid);
                }

                active.Remove(pod);
            }

            return null;
        }

        int missing = (int)Math.Min(JobPlan.Missing(job, count, wanted, active.Count), PodsAtOnceMax);
        if (missing <= 0)
        {
            return null;
        }

        TimeSpan backoff = job.HasBackoffPerIndex() ? TimeSpan.Zero : JobPlan.Backoff(job, pods, _time.GetUtcNow());
        return backoff > TimeSpan.Zero ? backoff : await CreateAsync(job, count, pods, active, missing, cancellation);
    }

    /// <summary>Deletes what still works. Of a complete job that is no failure; of a failed one it is, as upstream counts.</summary>
    private async Task StopAsync(KubeObject job, JobEnd end, List<KubeObject> active, CancellationToken cancellation)
    {
        if (end.Reason == "CompletionsReached")
        {
            await _writer.FreeAsync(active, cancellation);
        }

        foreach (KubeObject pod in active)
        {
            await _podControl.DeleteAsync(job, pod, cancellation);
        }

        active.Clear();
    }

    private async Task<TimeSpan?> CreateAsync(
        KubeObject job, JobCount count, List<KubeObject> pods, List<KubeObject> active, int missing, CancellationToken cancellation)
    {
        TimeSpan? wait = null;
        IReadOnlyList<int> indexes = job.IsIndexed() ? JobPlan.NextIndexes(job, count, pods, missing, _time.GetUtcNow(), out wait) : [];
        missing = job.IsIndexed() ? indexes.Count : missing;
        _expectations.ExpectCreations(job.Key, missing);
        JsonObject[] documents = [.. Enumerable.Range(0, missing).Select(i => _jobPods.Make(
            job, job.IsIndexed() ? indexes[i] : null, job.IsIndexed() ? count.Held.GetValueOrDefault(indexes[i]) : null))];
        List<KubeObject> created = [];
        (int succeeded, Exception? failure) = await PodControl.SlowStartAsync(missing, async i =>
        {
            KubeObject pod = await _podControl.CreateAsync(job, documents[i], cancellation);
            lock (created)
            {
                created.Add(pod);
            }
        });
        for (int i = succeeded; i < missing; i++)
        {
            _expectations.CreationObserved(job.Key);
        }

        active.AddRange(created);
        if (failure is StatusException e && !PodControl.IsNamespaceTerminating(e))
        {
            throw failure;
        }

        return wait;
    }

    // Pods of a job that is gone must not be held by our finalizer (orphan pods: syncOrphanPod).
    private async Task FreeOrphansAsync(ObjectKey key, CancellationToken cancellation)
    {
        IEnumerable<KubeObject> left = _pods.Store.List(key.Namespace).Where(p =>
            p.HasTracking() && Owners.ControllerOf(p) is { Kind: "Job" } r && r.Name == key.Name);
        await _writer.FreeAsync(left, cancellation);
    }

    private static TimeSpan? DeadlineIn(KubeObject job, DateTimeOffset? started, DateTimeOffset now)
    {
        if (!job.Spec.Has("activeDeadlineSeconds") || started is not { } start || job.Spec.Bool("suspend"))
        {
            return null;
        }

        TimeSpan left = start.AddSeconds(job.Spec.Long("activeDeadlineSeconds")) - now;
        return left > TimeSpan.Zero ? left : null;
    }

    private static TimeSpan? Sooner(TimeSpan? a, TimeSpan? b) => a is null ? b : b is null || a < b ? a : b;

    private void Notice(KubeObject pod, bool created, bool gone = false)
    {
        if (Owners.ControllerOf(pod) is not { Kind: "Job" } r)
        {
            return;
        }

        ObjectKey key = new(pod.Namespace, r.Name);
        if (_jobs.Get(key) is { } job && job.Uid == r.Uid)
        {
            if (created && !pod.IsDeleting)
            {
                _expectations.CreationObserved(key);
            }

            if (gone || pod.IsDeleting)
            {
                _expectations.DeletionObserved(key, pod.Uid);
            }
        }

        _queue.Add(key);
    }
}
