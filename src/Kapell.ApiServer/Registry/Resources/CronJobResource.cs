using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>batch/v1 CronJob.</summary>
internal static class CronJobResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "batch",
        Version = "v1",
        Kind = "CronJob",
        Plural = "cronjobs",
        Singular = "cronjob",
        ShortNames = ["cj"],
        Categories = ["all"],
        Namespaced = true,
        SchemaName = "io.k8s.api.batch.v1.CronJob",
        StorageKey = "cronjobs",
        Default = Default,
        PrepareForCreate = static (o, facts) =>
        {
            Strategies.CreateWithSpecAndStatus(o, facts);
            o["status"] = new JsonObject();
        },
        PrepareForUpdate = Strategies.UpdateWithSpecAndStatus,
        Validate = JobValidation.CronJob,
        Subresources = [Strategies.Status("batch/v1 CronJob")],
        Columns =
        [
            Columns.Name,
            Columns.Text("Schedule", "The schedule in cron format."),
            Columns.Text("Timezone", "The time zone of the schedule."),
            new("Suspend", "boolean", "Whether later runs are suspended."),
            Columns.Number("Active", "Number of jobs that run now."),
            Columns.Text("Last Schedule", "When a job was last scheduled."),
            Columns.Age,
            Columns.Containers,
            Columns.Images,
            Columns.Selector,
        ],
        Row = Row,
    };

    private static void Default(JsonObject o)
    {
        JsonObject spec = o.Ensure("spec");
        spec.DefaultText("concurrencyPolicy", "Allow");
        spec.Default("suspend", false);
        spec.Default("successfulJobsHistoryLimit", 3);
        spec.Default("failedJobsHistoryLimit", 1);
        if (spec.Ensure("jobTemplate").Obj("spec") is { } job)
        {
            // Of a template's job only the pod template takes defaults (upstream: SetObjectDefaults_CronJob).
            Pods.PodDefaults.Template(job.Obj("template"));
        }

        o.Ensure("status");
    }

    private static object?[] Row(JsonElement o, DateTimeOffset now)
    {
        JsonElement spec = o.Get("spec");
        JsonElement pod = spec.Get("jobTemplate", "spec", "template", "spec");
        string last = o.Get("status").Text("lastScheduleTime");
        return
        [
            Columns.NameOf(o),
            spec.Text("schedule"),
            Columns.OrNone(spec.Text("timeZone")),
            spec.Bool("suspend") ? "True" : "False",
            (long)o.Get("status").Items("active").Count(),
            last.Length == 0 ? Columns.None : HumanDuration.Since(last, now),
            HumanDuration.Age(o, now),
            Columns.ContainerNames(pod),
            Columns.ContainerImages(pod),
            Columns.LabelSelector(spec.Get("jobTemplate", "spec", "selector")),
        ];
    }
}
