using System.Globalization;
using System.Text.Json.Nodes;
using Kapell.Base;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Jobs;

/// <summary>The pods a job makes: tracked by a finalizer, and for indexed jobs told their index (indexed_job_utils.go).</summary>
internal sealed class JobPods(Prng random)
{
    private const string Alphabet = "bcdfghjklmnpqrstvwxz2456789";
    private readonly Lock _gate = new(); // around the random source

    /// <param name="failed">With a limit for each index: the pod this one follows.</param>
    public JsonObject Make(KubeObject job, int? index, KubeObject? failed)
    {
        JsonObject pod = PodControl.FromTemplate(job.Spec.Get("template"), job);
        JsonObject metadata = pod.Child("metadata");
        JsonArray finalizers = metadata["finalizers"] as JsonArray ?? [];
        if (finalizers.Parent is null)
        {
            metadata["finalizers"] = finalizers;
        }

        finalizers.Add((JsonNode)JobView.TrackingFinalizer);
        if (index is { } i)
        {
            AddIndex(job, pod, metadata, i.ToString(CultureInfo.InvariantCulture));
            AddFailures(job, metadata, failed);
        }

        return pod;
    }

    private void AddIndex(KubeObject job, JsonObject pod, JsonObject metadata, string index)
    {
        metadata.Child("annotations")[JobView.IndexAnnotation] = index;
        metadata.Child("labels")[JobView.IndexAnnotation] = index;
        metadata.Remove("generateName");
        metadata["name"] = $"{job.Name}-{index}-{Suffix()}";
        JsonObject spec = pod.Child("spec");
        spec["hostname"] ??= $"{job.Name}-{index}";
        foreach (string list in (string[])["initContainers", "containers"])
        {
            foreach (JsonObject container in (spec[list] as JsonArray ?? []).OfType<JsonObject>())
            {
                AddVariable(container);
            }
        }
    }

    private static void AddFailures(KubeObject job, JsonObject metadata, KubeObject? failed)
    {
        if (!job.HasBackoffPerIndex())
        {
            return;
        }

        (long failures, long ignored) = IndexFailure.After(job, failed);
        metadata.Child("annotations")[IndexFailure.CountAnnotation] = failures.ToString(CultureInfo.InvariantCulture);
        if (ignored > 0)
        {
            metadata.Child("annotations")[IndexFailure.IgnoredAnnotation] = ignored.ToString(CultureInfo.InvariantCulture);
        }
    }

    private static void AddVariable(JsonObject container)
    {
        JsonArray env = container["env"] as JsonArray ?? [];
        if (env.OfType<JsonObject>().Any(e => e["name"]?.GetValue<string>() == "JOB_COMPLETION_INDEX"))
        {
            return;
        }

        JsonObject variable = new()
        {
            ["name"] = "JOB_COMPLETION_INDEX",
            ["valueFrom"] = new JsonObject
            {
                ["fieldRef"] = new JsonObject { ["apiVersion"] = "v1", ["fieldPath"] = $"metadata.labels['{JobView.IndexAnnotation}']" },
            },
        };
        env.Add((JsonNode)variable);
        if (env.Parent is null)
        {
            container["env"] = env;
        }
    }

    private string Suffix()
    {
        lock (_gate)
        {
            return string.Create(5, random, static (span, r) =>
            {
                for (int i = 0; i < span.Length; i++)
                {
                    span[i] = Alphabet[r.NextInt(0, Alphabet.Length)];
                }
            });
        }
    }
}
