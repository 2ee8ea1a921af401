using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.StatefulSets;

/// <summary>Names, identity and claims of a stateful set's pods (stateful_set_utils.go). Pure.</summary>
internal static class StatefulPods
{
    public const string RevisionLabel = "controller-revision-hash";
    public const string HashLabel = "controller.kubernetes.io/hash";
    private const string NameLabel = "statefulset.kubernetes.io/pod-name";
    private const string IndexLabel = "apps.kubernetes.io/pod-index";

    /// <summary>-1 when the name is not SET-NUMBER.</summary>
    public static int Ordinal(KubeObject set, string podName)
    {
        string prefix = set.Name + "-";
        return podName.StartsWith(prefix, StringComparison.Ordinal)
            && int.TryParse(podName.AsSpan(prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : -1;
    }

    public static int Start(KubeObject set) => (int)set.Spec.Get("ordinals").Long("start");

    public static string PodName(KubeObject set, int ordinal) => $"{set.Name}-{Text(ordinal)}";

    public static string RevisionOf(KubeObject pod) => pod.Labels.GetValueOrDefault(RevisionLabel, "");

    public static bool IsRunningAndReady(this KubeObject pod) => pod.Phase() == "Running" && pod.IsReady();

    public static bool IsHealthy(this KubeObject pod) => pod.IsRunningAndReady() && !pod.IsDeleting;

    /// <summary>A pod of the revision's template with the identity of its ordinal; claims take the place of volumes of the same name.</summary>
    public static JsonObject Make(KubeObject set, KubeObject revision, int ordinal)
    {
        JsonElement template = JsonDocument.Parse(JsonBytes.Of(RevisionHistory.Template(revision))).RootElement;
        JsonObject pod = PodControl.FromTemplate(template, set);
        JsonObject metadata = pod.Child("metadata");
        metadata.Remove("generateName");
        metadata["name"] = PodName(set, ordinal);
        metadata["namespace"] = set.Namespace;
        JsonObject labels = metadata.Child("labels");
        labels[NameLabel] = PodName(set, ordinal);
        labels[IndexLabel] = Text(ordinal);
        labels[RevisionLabel] = revision.Name;
        JsonObject spec = pod.Child("spec");
        spec["hostname"] = PodName(set, ordinal);
        spec.SetOrRemove("subdomain", set.Spec.Text("serviceName"));
        spec["volumes"] = Volumes(set, ordinal, spec["volumes"] as JsonArray);
        if (spec["volumes"]!.AsArray().Count == 0) // set above
        {
            spec.Remove("volumes");
        }

        return pod;
    }

    public static string ClaimName(KubeObject set, string template, int ordinal) => $"{template}-{set.Name}-{Text(ordinal)}";

    /// <summary>The claims the pod of an ordinal needs, as documents to create.</summary>
    public static IReadOnlyList<JsonObject> Claims(KubeObject set, int ordinal)
    {
        List<JsonObject> claims = [];
        foreach (JsonElement template in set.Spec.Items("volumeClaimTemplates"))
        {
            JsonObject claim = template.Object();
            claim["apiVersion"] = "v1";
            claim["kind"] = "PersistentVolumeClaim";
            claim.Remove("status");
            JsonObject metadata = claim.Child("metadata");
            metadata["name"] = ClaimName(set, template.Get("metadata").Text("name"), ordinal);
            metadata["namespace"] = set.Namespace;
            metadata.Remove("creationTimestamp");
            JsonObject labels = metadata.Child("labels");
            foreach ((string key, string value) in set.Spec.Get("selector").TextMap("matchLabels"))
            {
                labels[key] = value;
            }

            claims.Add(claim);
        }

        return claims;
    }

    /// <summary>Identity and storage are as they should be; a pod that was adopted or edited may lack its labels.</summary>
    public static bool Matches(KubeObject set, KubeObject pod, int ordinal)
    {
        Dictionary<string, string> claims = pod.Spec.Items("volumes").Where(v => v.Has("persistentVolumeClaim"))
            .ToDictionary(v => v.Text("name"), v => v.Get("persistentVolumeClaim").Text("claimName"), StringComparer.Ordinal);
        return pod.Labels.GetValueOrDefault(NameLabel) == pod.Name && pod.Labels.GetValueOrDefault(IndexLabel) == Text(ordinal)
            && set.Spec.Items("volumeClaimTemplates").Select(t => t.Get("metadata").Text("name"))
                .All(t => claims.GetValueOrDefault(t) == ClaimName(set, t, ordinal));
    }

    /// <summary>The patch that brings a pod's identity labels back.</summary>
    public static JsonObject IdentityPatch(KubeObject pod, int ordinal) => new()
    {
        ["metadata"] = new JsonObject
        {
            ["uid"] = pod.Uid, ["labels"] = new JsonObject { [NameLabel] = pod.Name, [IndexLabel] = Text(ordinal) },
        },
    };

    private static JsonArray Volumes(KubeObject set, int ordinal, JsonArray? own)
    {
        JsonArray volumes = [];
        HashSet<string> names = [];
        foreach (string template in set.Spec.Items("volumeClaimTemplates").Select(t => t.Get("metadata").Text("name")))
        {
            names.Add(template);
            volumes.Add((JsonNode)new JsonObject
            {
                ["name"] = template, ["persistentVolumeClaim"] = new JsonObject { ["claimName"] = ClaimName(set, template, ordinal) },
            });
        }

        foreach (JsonNode? volume in own ?? [])
        {
            if (volume is JsonObject v && !names.Contains(v["name"]?.ToString() ?? ""))
            {
                volumes.Add(v.DeepClone());
            }
        }

        return volumes;
    }

    private static string Text(int n) => n.ToString(CultureInfo.InvariantCulture);
}
