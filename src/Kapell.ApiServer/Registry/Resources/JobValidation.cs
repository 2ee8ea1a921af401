using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>batch/v1 jobs and cron jobs (pkg/apis/batch/validation).</summary>
internal static class JobValidation
{
    private const long IndexedParallelismMax = 100_000;
    private const int CronJobNameMax = 52;
    private static readonly FieldPath Spec = FieldPath.New("spec");

    private static readonly string[] ImmutableFields =
        ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"];

    public static List<FieldError> Job(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        GeneratedSelector(errors, o);
        JobSpec(errors, spec, Spec);
        if (spec.Obj("selector") is { } selector)
        {
            errors.AddRange(ObjectMetaValidation.ValidateLabelSelector(selector, Spec.Child("selector")));
            Validating.SelectorMatches(
                errors, Spec.Child("template", "metadata", "labels"), selector, spec.Obj("template", "metadata", "labels"));
        }
        else
        {
            errors.Add(FieldError.Required(Spec.Child("selector"), ""));
        }

        return errors;
    }

    public static List<FieldError> JobUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        JsonObject? now = updated.Obj("spec");
        JsonObject? before = old.Obj("spec");
        // KEP-3715: an indexed job may grow and shrink while it wants as many completions as it runs pods at once.
        bool elastic = now.Text("completionMode") == "Indexed" && now.Long("completions") == now.Long("parallelism")
            && before.Long("completions") == before.Long("parallelism") && now.Has("completions") == before.Has("completions");
        if (!elastic)
        {
            Validating.Immutable(errors, Spec.Child("completions"), now?["completions"], before?["completions"]);
        }

        foreach (string field in ImmutableFields)
        {
            Validating.Immutable(errors, Spec.Child(field), now?[field], before?[field]);
        }

        Template(errors, now?["template"], before?["template"], before.Bool("suspend") == true && !old.Obj("status").Has("startTime"));
        return errors;
    }

    public static List<FieldError> CronJob(JsonObject o)
    {
        List<FieldError> errors = [];
        string name = o.Obj("metadata").Text("name");
        JsonObject? spec = o.Obj("spec");
        string schedule = spec.Text("schedule");
        if (schedule.Length == 0)
        {
            errors.Add(FieldError.Required(Spec.Child("schedule"), ""));
        }
        else if (CronSchedules.FaultOf(schedule) is { } fault)
        {
            errors.Add(FieldError.Invalid(Spec.Child("schedule"), schedule, fault));
        }

        Validating.NotNegativeNumber(errors, Spec, spec, "startingDeadlineSeconds");
        if (spec.Has("timeZone") && spec.Text("timeZone") is { } zone)
        {
            if (zone.Length == 0)
            {
                errors.Add(FieldError.Invalid(Spec.Child("timeZone"), zone, "timeZone must be nil or non-empty string"));
            }
            else if (string.Equals(zone, "Local", StringComparison.OrdinalIgnoreCase))
            {
                errors.Add(FieldError.Invalid(Spec.Child("timeZone"), zone, "timeZone must be an explicit time zone as defined in "
                    + "https://www.iana.org/time-zones"));
            }
        }

        Validating.OneOf(errors, Spec.Child("concurrencyPolicy"), spec.Text("concurrencyPolicy"), "Allow", "Forbid", "Replace");
        JsonObject? job = spec.Obj("jobTemplate", "spec");
        FieldPath jobPath = Spec.Child("jobTemplate", "spec");
        errors.AddRange(ObjectMetaValidation.ValidateLabels(spec.Obj("jobTemplate", "metadata", "labels"), Spec.Child("jobTemplate", "metadata", "labels")));
        JobSpec(errors, job, jobPath);
        if (job.Bool("manualSelector") == true)
        {
            errors.Add(FieldError.NotSupported(jobPath.Child("manualSelector"), true, ["nil", "false"]));
        }

        Validating.NotNegativeNumber(errors, Spec, spec, "successfulJobsHistoryLimit");
        Validating.NotNegativeNumber(errors, Spec, spec, "failedJobsHistoryLimit");
        if (name.Length > CronJobNameMax)
        {
            errors.Add(FieldError.Invalid(FieldPath.New("metadata", "name"), name, $"must be no more than {CronJobNameMax} characters"));
        }

        return errors;
    }

    private static void JobSpec(List<FieldError> errors, JsonObject? spec, FieldPath path)
    {
        foreach (string field in new[]
            { "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex" })
        {
            Validating.NotNegativeNumber(errors, path, spec, field);
        }

        if (spec.Text("completionMode") is { Length: > 0 } mode)
        {
            Validating.OneOf(errors, path.Child("completionMode"), mode, "Indexed", "NonIndexed");
            if (mode == "Indexed" && !spec.Has("completions"))
            {
                errors.Add(FieldError.Required(path.Child("completions"), "when completion mode is Indexed"));
            }

            if (mode == "Indexed" && spec.Long("parallelism") > IndexedParallelismMax)
            {
                errors.Add(FieldError.Invalid(path.Child("parallelism"), spec.Long("parallelism"),
                    $"must be less than or equal to {IndexedParallelismMax} when completion mode is Indexed"));
            }
        }

        if (spec.Text("podReplacementPolicy") is { Length: > 0 } replacement)
        {
            Validating.OneOf(errors, path.Child("podReplacementPolicy"), replacement, "Failed", "TerminatingOrFailed");
        }

        PodTemplateValidation.Validate(errors, spec.Obj("template"), path.Child("template"));
        if (spec.Obj("template", "spec").Text("restartPolicy") == "Always")
        {
            errors.Add(FieldError.Required(path.Child("template", "spec", "restartPolicy"), "valid values: \"OnFailure\", \"Never\""));
        }
    }

    private static void GeneratedSelector(List<FieldError> errors, JsonObject o)
    {
        JsonObject? spec = o.Obj("spec");
        if (spec.Bool("manualSelector") == true || spec.Obj("selector") is not { } selector)
        {
            return;
        }

        string uid = o.Obj("metadata").Text("uid");
        string name = o.Obj("metadata").Text("name");
        JsonObject? labels = spec.Obj("template", "metadata", "labels");
        FieldPath path = Spec.Child("template", "metadata", "labels");
        foreach ((string label, string expected) in new[]
            {
                ("controller-uid", uid), ("job-name", name), ("batch.kubernetes.io/controller-uid", uid), ("batch.kubernetes.io/job-name", name),
            })
        {
            if (labels.Has(label) && labels.Text(label) != expected)
            {
                errors.Add(FieldError.Invalid(path, labels, $"must be '{expected}'"));
            }
            else if (!labels.Has(label))
            {
                errors.Add(FieldError.Required(path.Key(label), $"must be '{expected}'"));
            }
        }

        Dictionary<string, string> generated = new(StringComparer.Ordinal) { ["controller-uid"] = uid, ["batch.kubernetes.io/controller-uid"] = uid };
        if (!Validating.TrySelector(selector, out LabelSelector parsed) || !parsed.Matches(generated))
        {
            errors.Add(FieldError.Invalid(Spec.Child("selector"), selector, "`selector` not auto-generated"));
        }
    }

    /// <summary>The pod template stays, but for scheduling directives of a job that is suspended and has never started (KEP-2926).</summary>
    private static void Template(List<FieldError> errors, JsonNode? now, JsonNode? before, bool neverStarted)
    {
        if (neverStarted && now?.DeepClone() is JsonObject comparable && before is JsonObject old)
        {
            comparable.Ensure("metadata").TakeFrom("labels", old.Obj("metadata") ?? []);
            comparable.Ensure("metadata").TakeFrom("annotations", old.Obj("metadata") ?? []);
            foreach (string field in new[] { "nodeSelector", "tolerations", "schedulingGates", "affinity" })
            {
                comparable.Ensure("spec").TakeFrom(field, old.Obj("spec") ?? []);
            }

            if (comparable.SameAs(old))
            {
                return;
            }
        }

        Validating.Immutable(errors, Spec.Child("template"), now, before);
    }
}
