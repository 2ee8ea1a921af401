using System.Globalization;
using System.Text.Json.Nodes;
using Kapell.Controllers.Jobs;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.CronJobs;

/// <summary>A time that is due, and whether so many were missed that somebody should know.</summary>
internal readonly record struct DueTime(DateTimeOffset? At, bool ManyMissed);

/// <summary>When a cron job runs, and what its jobs look like (pkg/controller/cronjob/utils.go). Pure.</summary>
internal static class CronJobPlan
{
    public const string ScheduledAt = "batch.kubernetes.io/cronjob-scheduled-timestamp";
    private const int MissedMany = 100;

    /// <summary>The newest scheduled time that has come since the last one that was seen to.</summary>
    /// <exception cref="FormatException">Two times are less than a second apart.</exception>
    public static DueTime Due(KubeObject cron, CronSchedule schedule, TimeZoneInfo zone, DateTimeOffset now)
    {
        DateTimeOffset earliest = Times.TryParse(cron.Status.Text("lastScheduleTime"), out DateTimeOffset last) ? last : cron.Created();
        bool limited = cron.Spec.Has("startingDeadlineSeconds");
        if (limited && now.AddSeconds(-cron.Spec.Long("startingDeadlineSeconds")) is var bound && bound > earliest)
        {
            earliest = bound;
        }

        if (earliest > now || schedule.Next(earliest, zone) is not { } first || first > now)
        {
            return new DueTime(null, false);
        }

        if (schedule.Next(first, zone) is not { } second || second > now)
        {
            return new DueTime(first, false);
        }

        double between = Math.Round((second - first).TotalSeconds);
        if (between < 1)
        {
            throw new FormatException("time difference between two schedules is less than 1 second");
        }

        bool many = (now - first).TotalSeconds / between > MissedMany && !limited;
        return new DueTime(Newest(schedule, zone, first, now, between), many);
    }

    public static string JobName(KubeObject cron, DateTimeOffset at) =>
        cron.Name + "-" + (at.ToUnixTimeSeconds() / 60).ToString(CultureInfo.InvariantCulture);

    public static JsonObject Make(KubeObject cron, DateTimeOffset at, TimeZoneInfo zone)
    {
        System.Text.Json.JsonElement template = cron.Spec.Get("jobTemplate");
        JsonObject annotations = template.Get("metadata", "annotations").Object();
        annotations[ScheduledAt] = TimeZoneInfo.ConvertTime(at, zone) is var local && local.Offset == TimeSpan.Zero
            ? Times.Text(at) : local.ToString("yyyy-MM-dd'T'HH:mm:sszzz", CultureInfo.InvariantCulture);
        JsonObject metadata = new()
        {
            ["name"] = JobName(cron, at), ["namespace"] = cron.Namespace, ["annotations"] = annotations,
            ["ownerReferences"] = new JsonArray(Owners.ControllerReference(cron)),
        };
        if (template.Get("metadata").Has("labels"))
        {
            metadata["labels"] = template.Get("metadata", "labels").Node();
        }

        return new JsonObject { ["apiVersion"] = "batch/v1", ["kind"] = "Job", ["metadata"] = metadata, ["spec"] = template.Get("spec").Object() };
    }

    /// <summary>Finished jobs beyond the history limits, oldest first.</summary>
    public static IReadOnlyList<KubeObject> Surplus(KubeObject cron, IReadOnlyList<KubeObject> jobs)
    {
        List<KubeObject> surplus = [];
        foreach ((string type, string field, long absent) in ((string, string, long)[])
            [("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1)])
        {
            KubeObject[] finished =
            [
                .. jobs.Where(j => !j.IsDeleting && JobView.FinishedCondition(j)?.Text("type") == type)
                    .OrderBy(j => j.Status.Text("startTime"), StringComparer.Ordinal).ThenBy(j => j.Name, StringComparer.Ordinal),
            ];
            surplus.AddRange(finished.Take((int)Math.Max(0, finished.Length - cron.Spec.Long(field, absent))));
        }

        return surplus;
    }

    // Looks back from now, twice as far each time: after a long silence this must not walk through every missed minute.
    private static DateTimeOffset Newest(CronSchedule schedule, TimeZoneInfo zone, DateTimeOffset first, DateTimeOffset now, double between)
    {
        for (double back = between; now.AddSeconds(-back) > first; back *= 2)
        {
            if (schedule.Next(now.AddSeconds(-back), zone) is { } t && t <= now)
            {
                return Last(schedule, zone, t, now);
            }
        }

        return Last(schedule, zone, first, now);
    }

    private static DateTimeOffset Last(CronSchedule schedule, TimeZoneInfo zone, DateTimeOffset from, DateTimeOffset now)
    {
        DateTimeOffset last = from;
        while (schedule.Next(last, zone) is { } next && next <= now)
        {
            last = next;
        }

        return last;
    }
}
