using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Controllers.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.DaemonSets;

/// <summary>Where a daemon set's pods belong and what they look like (daemon_controller.go, daemon/util). Pure.</summary>
internal static class DaemonPods
{
    public const string HashLabel = "controller-revision-hash";
    private const string GenerationLabel = "pod-template-generation";

    private static readonly (string Key, string Effect)[] Tolerated =
    [
        ("node.kubernetes.io/not-ready", "NoExecute"), ("node.kubernetes.io/unreachable", "NoExecute"), ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"), ("node.kubernetes.io/pid-pressure", "NoSchedule"), ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];

    /// <summary>Whether a pod should be made on the node, and whether one that is there may stay.</summary>
    public static (bool ShouldRun, bool MayStay) Fits(KubeObject set, KubeObject node)
    {
        JsonElement spec = set.Spec.Get("template", "spec");
        if (spec.Text("nodeName") is { Length: > 0 } only && only != node.Name)
        {
            return (false, false);
        }

        if (!spec.TextMap("nodeSelector").All(s => node.Labels.GetValueOrDefault(s.Key) == s.Value) || !MatchesAffinity(spec, node))
        {
            return (false, false);
        }

        JsonElement[] tolerations = [.. Tolerations(spec).Select(t => JsonSerializer.SerializeToElement(t, TolerationJson.Default.JsonNode))];
        bool schedule = true, stay = true;
        foreach (JsonElement taint in node.Spec.Items("taints"))
        {
            if (taint.Text("effect") is not ("NoSchedule" or "NoExecute") || Array.Exists(tolerations, t => NodeTaints.Tolerates(t, taint)))
            {
                continue;
            }

            schedule = false;
            stay &= taint.Text("effect") != "NoExecute";
        }

        return (schedule, stay);
    }

    /// <summary>The node a pod of the set is on or bound for (GetTargetNodeName).</summary>
    public static string TargetNode(KubeObject pod)
    {
        if (pod.NodeName().Length > 0)
        {
            return pod.NodeName();
        }

        return Terms(pod.Spec).SelectMany(t => t.Items("matchFields"))
            .Where(f => f.Text("key") == "metadata.name" && f.Text("operator") == "In")
            .SelectMany(f => f.Items("values").Select(v => v.GetString() ?? "")).FirstOrDefault() ?? "";
    }

    public static JsonObject Make(KubeObject set, string node, string hash)
    {
        JsonObject pod = PodControl.FromTemplate(set.Spec.Get("template"), set);
        JsonObject labels = pod.Child("metadata").Child("labels");
        labels[HashLabel] = hash;
        labels[GenerationLabel] = set.Generation.ToString(CultureInfo.InvariantCulture);
        JsonObject spec = pod.Child("spec");
        spec["tolerations"] = new JsonArray([.. Tolerations(set.Spec.Get("template", "spec"))]);
        JsonObject required = spec.Child("affinity").Child("nodeAffinity").Child("requiredDuringSchedulingIgnoredDuringExecution");
        JsonObject pin = new()
        {
            ["matchFields"] = new JsonArray(new JsonObject { ["key"] = "metadata.name", ["operator"] = "In", ["values"] = new JsonArray(node) }),
        };
        if (required["nodeSelectorTerms"] is JsonArray { Count: > 0 } terms)
        {
            // Terms are alternatives: the node is demanded in each (ReplaceDaemonSetPodNodeNameNodeAffinity).
            foreach (JsonObject term in terms.OfType<JsonObject>())
            {
                term["matchFields"] = pin["matchFields"]!.DeepClone(); // set above
            }
        }
        else
        {
            required["nodeSelectorTerms"] = new JsonArray(pin);
        }

        return pod;
    }

    private static List<JsonNode?> Tolerations(JsonElement spec)
    {
        List<JsonNode?> all = [.. spec.Items("tolerations").Select(t => t.Node())];
        IEnumerable<(string, string)> extra = spec.Bool("hostNetwork") ? [.. Tolerated, ("node.kubernetes.io/network-unavailable", "NoSchedule")] : Tolerated;
        foreach ((string key, string effect) in extra)
        {
            all.Add(new JsonObject { ["key"] = key, ["operator"] = "Exists", ["effect"] = effect });
        }

        return all;
    }

    private static bool MatchesAffinity(JsonElement spec, KubeObject node)
    {
        JsonElement required = spec.Get("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution");
        return required.ValueKind != JsonValueKind.Object || Terms(spec).Any(term => TermMatches(term, node));
    }

    private static IEnumerable<JsonElement> Terms(JsonElement spec) =>
        spec.Get("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution").Items("nodeSelectorTerms");

    private static bool TermMatches(JsonElement term, KubeObject node)
    {
        JsonElement[] expressions = [.. term.Items("matchExpressions")], fields = [.. term.Items("matchFields")];
        return expressions.Length + fields.Length > 0
            && Array.TrueForAll(expressions, e => Requirement(e, node.Labels))
            && Array.TrueForAll(fields, e => Requirement(e, new Dictionary<string, string> { ["metadata.name"] = node.Name }));
    }

    private static bool Requirement(JsonElement e, IReadOnlyDictionary<string, string> labels)
    {
        bool has = labels.TryGetValue(e.Text("key"), out string? value);
        string[] values = [.. e.Items("values").Select(v => v.GetString() ?? "")];
        return e.Text("operator") switch
        {
            "In" => has && values.Contains(value),
            "NotIn" => !has || !values.Contains(value),
            "Exists" => has,
            "DoesNotExist" => !has,
            "Gt" => Compare(value, values) > 0,
            "Lt" => Compare(value, values) < 0,
            _ => false,
        };
    }

    // 0 also stands for "cannot be compared", which meets neither Gt nor Lt.
    private static int Compare(string? value, string[] values) =>
        values.Length == 1 && long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long a)
            && long.TryParse(values[0], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long b) ? a.CompareTo(b) : 0;
}

[System.Text.Json.Serialization.JsonSerializable(typeof(JsonNode))]
internal sealed partial class TolerationJson : System.Text.Json.Serialization.JsonSerializerContext;
