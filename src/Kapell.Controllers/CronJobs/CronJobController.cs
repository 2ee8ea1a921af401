using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Jobs;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.CronJobs;

/// <summary>
/// Makes a Job when its time has come (pkg/controller/cronjob). A job's name holds its scheduled minute, so a time never makes two jobs.
/// </summary>
internal sealed class CronJobController : IReconciler<ObjectKey>
{
    private static readonly TimeSpan AfterTime = TimeSpan.FromMilliseconds(100);
    private readonly KubeClient _client;
    private readonly Informer _crons;
    private readonly Informer _jobs;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly EventRecorder _events;
    private readonly TimeProvider _time;

    private CronJobController(ControllerContext context)
    {
        _client = context.ClientFor("cronjob-controller");
        _time = context.Time;
        _crons = context.Informers.For(Resources.CronJobs);
        _jobs = context.Informers.For(Resources.Jobs);
        _jobs.AddIndex(Owners.ControllerIndexName, Owners.ControllerIndex);
        _queue = context.Queue();
        _events = context.RecorderFor("cronjob-controller", _client);
        _crons.AddHandler(InformerHandler.ForAll(c => _queue.Add(c.Key)));
        _jobs.AddHandler(InformerHandler.ForAll(j =>
        {
            if (Owners.ControllerOf(j) is { Kind: "CronJob" } r)
            {
                _queue.Add(new ObjectKey(j.Namespace, r.Name));
            }
        }));
    }

    public string Name => "cronjob-controller";

    public static IController Create(ControllerContext context)
    {
        CronJobController c = new(context);
        return new QueueController<ObjectKey>(c, c._queue, context.Options.ConcurrentCronJobSyncs, [c._crons, c._jobs], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_crons.Get(key) is not { } cron)
        {
            return ReconcileResult.Done;
        }

        JsonObject status = cron.Status.Object();
        IReadOnlyList<KubeObject> jobs = _jobs.Store.ByIndex(Owners.ControllerIndexName, cron.Uid);
        foreach (KubeObject old in CronJobPlan.Surplus(cron, jobs))
        {
            await DeleteJobAsync(cron, old, cancellation);
        }

        await LookAtJobsAsync(cron, jobs, status, cancellation);
        TimeSpan? again = null;
        try
        {
            again = cron.IsDeleting ? null : await ScheduleAsync(cron, status, cancellation);
        }
        finally
        {
            await UpdateStatusAsync(cron, status, cancellation);
        }

        return new ReconcileResult(again);
    }

    private async Task LookAtJobsAsync(KubeObject cron, IReadOnlyList<KubeObject> jobs, JsonObject status, CancellationToken cancellation)
    {
        HashSet<string> known = [.. Active(status).Select(a => Text(a, "uid"))];
        foreach (KubeObject job in jobs)
        {
            JsonElement? end = JobView.FinishedCondition(job);
            if (end is null)
            {
                if (!known.Contains(job.Uid) && !JustMade(cron, job))
                {
                    _events.Warning(cron, "UnexpectedJob", $"Saw a job that the controller did not create or forgot: {job.Name}");
                }

                continue;
            }

            if (known.Contains(job.Uid))
            {
                RemoveActive(status, job.Uid);
                _events.Normal(cron, "SawCompletedJob", $"Saw completed job: {job.Name}, condition: {end.Value.Text("type")}");
            }

            string done = job.Status.Text("completionTime");
            if (end.Value.Text("type") == "Complete" && string.CompareOrdinal(done, status["lastSuccessfulTime"]?.ToString() ?? "") > 0)
            {
                status["lastSuccessfulTime"] = done;
            }
        }

        foreach (JsonObject active in Active(status).Where(a => jobs.All(j => j.Uid != Text(a, "uid"))).ToArray())
        {
            if (await GetJobAsync(new ObjectKey(cron.Namespace, Text(active, "name")), cancellation) is not { } there || there.Uid != Text(active, "uid"))
            {
                _events.Normal(cron, "MissingJob", $"Active job went missing: {Text(active, "name")}");
                RemoveActive(status, Text(active, "uid"));
            }
        }
    }

    // The job of the last scheduled time is ours, even when the status that says so has not come back yet.
    private static bool JustMade(KubeObject cron, KubeObject job) => job.Annotations.ContainsKey(CronJobPlan.ScheduledAt) && job.Name.StartsWith(cron.Name, StringComparison.Ordinal);

    /// <summary>Makes the job that is due, if one is; answers how long until the next time.</summary>
    private async Task<TimeSpan?> ScheduleAsync(KubeObject cron, JsonObject status, CancellationToken cancellation)
    {
        if (cron.Spec.Bool("suspend") || Zone(cron) is not { } zone)
        {
            return null;
        }

        DateTimeOffset now = _time.GetUtcNow();
        CronSchedule schedule;
        DueTime due;
        try
        {
            schedule = CronSchedule.Parse(cron.Spec.Text("schedule"));
            due = CronJobPlan.Due(cron, schedule, zone, now);
        }
        catch (FormatException e)
        {
            _events.Warning(cron, "UnparseableSchedule", $"unparseable schedule: \"{cron.Spec.Text("schedule")}\" : {e.Message}");
            return null;
        }

        TimeSpan? wait = schedule.Next(now, zone) is { } next ? next - now + AfterTime : null;
        if (due.ManyMissed)
        {
            _events.Warning(cron, "TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
        }

        if (due.At is not { } at || Active(status).Any(a => Text(a, "name") == CronJobPlan.JobName(cron, at)))
        {
            return wait;
        }

        if (cron.Spec.Has("startingDeadlineSeconds") && at.AddSeconds(cron.Spec.Long("startingDeadlineSeconds")) < now)
        {
            _events.Warning(cron, "MissSchedule", $"Missed scheduled time to start a job: {at.UtcDateTime:R}");
            return wait;
        }

        if (cron.Spec.Text("concurrencyPolicy") == "Forbid" && Active(status).Any())
        {
            _events.Normal(cron, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid");
            return wait;
        }

        await ReplaceAsync(cron, status, cancellation);
        await StartAsync(cron, status, at, zone, cancellation);
        return wait;
    }

    private async Task ReplaceAsync(KubeObject cron, JsonObject status, CancellationToken cancellation)
    {
        if (cron.Spec.Text("concurrencyPolicy") != "Replace")
        {
            return;
        }

        foreach (JsonObject active in Active(status).ToArray())
        {
            if (await GetJobAsync(new ObjectKey(cron.Namespace, Text(active, "name")), cancellation) is { } job)
            {
                await DeleteJobAsync(cron, job, cancellation);
            }

            RemoveActive(status, Text(active, "uid"));
        }
    }

    private async Task StartAsync(KubeObject cron, JsonObject status, DateTimeOffset at, TimeZoneInfo zone, CancellationToken cancellation)
    {
        KubeObject job;
        try
        {
            job = await _client.CreateAsync(Resources.Jobs, cron.Namespace, CronJobPlan.Make(cron, at, zone), cancellation);
            _events.Normal(cron, "SuccessfulCreate", $"Created job {job.Name}");
        }
        catch (StatusException e) when (e.IsAlreadyExists)
        {
            // Made before, and the status that says so was lost; or a stranger's, which we leave alone.
            KubeObject? there = await GetJobAsync(new ObjectKey(cron.Namespace, CronJobPlan.JobName(cron, at)), cancellation);
            if (there is null || !Owners.IsControlledBy(there, cron) || JobView.FinishedCondition(there) is not null)
            {
                status["lastScheduleTime"] = Times.Text(at);
                return;
            }

            job = there;
        }
        catch (StatusException e)
        {
            if (!PodControl.IsNamespaceTerminating(e))
            {
                _events.Warning(cron, "FailedCreate", $"Error creating job: {e.Message}");
            }

            throw;
        }

        JsonArray active = status["active"] as JsonArray ?? [];
        active.Add((JsonNode)new JsonObject
        {
            ["apiVersion"] = "batch/v1", ["kind"] = "Job", ["name"] = job.Name, ["namespace"] = job.Namespace,
            ["resourceVersion"] = job.ResourceVersion, ["uid"] = job.Uid,
        });
        if (active.Parent is null)
        {
            status["active"] = active;
        }

        status["lastScheduleTime"] = Times.Text(at);
    }

    private TimeZoneInfo? Zone(KubeObject cron)
    {
        string name = cron.Spec.Text("timeZone");
        try
        {
            return name.Length == 0 ? _time.LocalTimeZone : TimeZoneInfo.FindSystemTimeZoneById(name);
        }
        catch (Exception e) when (e is TimeZoneNotFoundException or InvalidTimeZoneException)
        {
            _events.Warning(cron, "UnknownTimeZone", $"invalid timeZone: \"{name}\": unknown time zone {name}");
            return null;
        }
    }

    private async Task<KubeObject?> GetJobAsync(ObjectKey key, CancellationToken cancellation)
    {
        try
        {
            return await _client.GetAsync(Resources.Jobs, key, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            return null;
        }
    }

    private async Task DeleteJobAsync(KubeObject cron, KubeObject job, CancellationToken cancellation)
    {
        try
        {
            await _client.DeleteAsync(Resources.Jobs, job.Key, new DeleteOptions { PropagationPolicy = "Background", PreconditionUid = job.Uid }, cancellation);
            _events.Normal(cron, "SuccessfulDelete", $"Deleted job {job.Name}");
        }
        catch (StatusException e) when (e.IsNotFound || e.IsConflict)
        {
            // Gone already.
        }
    }

    private async Task UpdateStatusAsync(KubeObject cron, JsonObject status, CancellationToken cancellation)
    {
        if (!JsonNode.DeepEquals(status, cron.Status.Object()))
        {
            JsonObject json = cron.ToNode();
            json["status"] = status;
            await _client.UpdateStatusAsync(Resources.CronJobs, cron.Key, json, cancellation);
        }
    }

    private static IEnumerable<JsonObject> Active(JsonObject status) => (status["active"] as JsonArray ?? []).OfType<JsonObject>();

    private static void RemoveActive(JsonObject status, string uid)
    {
        JsonArray left = new([.. Active(status).Where(a => Text(a, "uid") != uid).Select(a => a.DeepClone())]);
        if (left.Count > 0)
        {
            status["active"] = left;
        }
        else
        {
            status.Remove("active");
        }
    }

    private static string Text(JsonObject o, string field) => o[field]?.ToString() ?? "";
}
