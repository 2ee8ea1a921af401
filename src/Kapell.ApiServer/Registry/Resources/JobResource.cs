using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>batch/v1 Job: unless asked otherwise its selector and labels come from its uid, so that no two jobs share pods.</summary>
internal static class JobResource
{
    private const string Uid = "batch.kubernetes.io/controller-uid";
    private const string Name = "batch.kubernetes.io/job-name";
    private const string LegacyUid = "controller-uid";
    private const string LegacyName = "job-name";
    private const string Tracking = "batch.kubernetes.io/job-tracking";

    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "batch",
        Version = "v1",
        Kind = "Job",
        Plural = "jobs",
        Singular = "job",
        Categories = ["all"],
        Namespaced = true,
        SchemaName = "io.k8s.api.batch.v1.Job",
        StorageKey = "jobs",
        Default = Default,
        PrepareForCreate = PrepareForCreate,
        PrepareForUpdate = Strategies.UpdateWithSpecAndStatus,
        Validate = JobValidation.Job,
        ValidateUpdate = JobValidation.JobUpdate,
        Subresources = [Strategies.Status("batch/v1 Job", validate: StatusValidation.Job)],
        UnknownField = static field => $"field label \"{field}\" not supported for batchv1.Job",
        SelectableFields = new Dictionary<string, Func<JsonElement, string>>
        {
            ["status.successful"] = static o => o.Get("status").Long("succeeded").ToString(),
        },
        Columns =
        [
            Columns.Name,
            Columns.Text("Status", "Status of the job."),
            Columns.Text("Completions", "How many of the wanted pods have succeeded."),
            Columns.Text("Duration", "Time required to complete the job."),
            Columns.Age,
            Columns.Containers,
            Columns.Images,
            Columns.Selector,
        ],
        Row = Row,
    };

    /// <summary>Defaults of a job's spec, also inside a cron job.</summary>
    internal static void DefaultSpec(JsonObject spec)
    {
        if (!spec.Has("completions") && !spec.Has("parallelism"))
        {
            spec["completions"] = 1L;
        }

        spec.Default("parallelism", 1);
        spec.Default("backoffLimit", spec.Has("backoffLimitPerIndex") ? int.MaxValue : 6);
        spec.DefaultText("completionMode", "NonIndexed");
        spec.Default("suspend", false);
        spec.Default("manualSelector", false);
        foreach (JsonObject pattern in spec.Obj("podFailurePolicy").Items("rules").SelectMany(r => r.Items("onPodConditions")))
        {
            pattern.DefaultText("status", "True");
        }

        spec.DefaultText("podReplacementPolicy", spec.Has("podFailurePolicy") ? "Failed" : "TerminatingOrFailed");
        PodDefaults.Template(spec.Obj("template"));
    }

    private static void Default(JsonObject o)
    {
        JsonObject spec = o.Ensure("spec");
        DefaultSpec(spec);
        if (spec.Obj("template", "metadata", "labels") is { Count: > 0 } labels && o.Obj("metadata").Obj("labels") is not { Count: > 0 })
        {
            o.Ensure("metadata")["labels"] = labels.DeepClone();
        }

        o.Ensure("status");
    }

    private static void PrepareForCreate(JsonObject o, RequestFacts facts)
    {
        Strategies.CreateWithSpecAndStatus(o, facts);
        o["status"] = new JsonObject();
        o.Obj("metadata").Obj("annotations")?.Remove(Tracking);
        JsonObject spec = o.Ensure("spec");
        if (spec.Bool("manualSelector") != true)
        {
            // Upstream: jobStrategy generateSelector. What the user put there must agree; validation says so.
            JsonObject metadata = o.Ensure("metadata");
            JsonObject labels = spec.Ensure("template").Ensure("metadata").Ensure("labels");
            foreach ((string label, string field) in new[] { (LegacyName, "name"), (Name, "name"), (LegacyUid, "uid"), (Uid, "uid") })
            {
                labels.Default(label, metadata.Text(field));
            }

            spec.Ensure("selector").Ensure("matchLabels").Default(Uid, metadata.Text("uid"));

            // Upstream's decoder does this to the stored job at its first read: a job without labels shows those of its template.
            Default(o);
        }
    }

    private static object?[] Row(JsonElement o, DateTimeOffset now)
    {
        JsonElement spec = o.Get("spec");
        JsonElement status = o.Get("status");
        JsonElement pod = spec.Get("template", "spec");
        long succeeded = status.Long("succeeded");
        string completions = spec.Has("completions") ? $"{succeeded}/{spec.Long("completions")}"
            : spec.Long("parallelism") > 1 ? $"{succeeded}/1 of {spec.Long("parallelism")}"
            : $"{succeeded}/1";
        return
        [
            Columns.NameOf(o),
            StatusOf(o),
            completions,
            Duration(status, now),
            HumanDuration.Age(o, now),
            Columns.ContainerNames(pod),
            Columns.ContainerImages(pod),
            Columns.LabelSelector(spec.Get("selector")),
        ];
    }

    private static string StatusOf(JsonElement o)
    {
        bool Is(string type) => o.Get("status").Items("conditions").Any(c => c.Text("type") == type && c.Text("status") == "True");
        return Is("Complete") ? "Complete"
            : Is("Failed") ? "Failed"
            : o.Get("metadata").Has("deletionTimestamp") ? "Terminating"
            : Is("Suspended") ? "Suspended"
            : Is("FailureTarget") ? "FailureTarget"
            : Is("SuccessCriteriaMet") ? "SuccessCriteriaMet"
            : "Running";
    }

    private static string Duration(JsonElement status, DateTimeOffset now) =>
        !HumanDuration.TryParse(status.Text("startTime"), out DateTimeOffset start) ? ""
        : HumanDuration.Format((HumanDuration.TryParse(status.Text("completionTime"), out DateTimeOffset end) ? end : now) - start);
}
