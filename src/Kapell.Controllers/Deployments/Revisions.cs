using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Deployments;

/// <summary>Revisions: which replica set is the new one, and what its annotations say (deployment_util.go). Pure.</summary>
internal static class Revisions
{
    public const string Revision = "deployment.kubernetes.io/revision";
    public const string History = "deployment.kubernetes.io/revision-history";
    public const string Desired = "deployment.kubernetes.io/desired-replicas";
    public const string Max = "deployment.kubernetes.io/max-replicas";
    public const string HashLabel = "pod-template-hash";
    private const int HistoryCharsMax = 2000;

    private static readonly HashSet<string> NotCopied =
    [
        "kubectl.kubernetes.io/last-applied-configuration", Revision, History, Desired, Max, "deprecated.deployment.rollback.to",
    ];

    public static long RevisionOf(KubeObject o) => Number(o, Revision);

    public static long Number(KubeObject o, string annotation) =>
        o.Annotations.TryGetValue(annotation, out string? text) && long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long n) ? n : 0;

    /// <summary>The oldest set whose template is the deployment's, hash label apart (FindNewReplicaSet).</summary>
    public static KubeObject? FindNew(KubeObject deployment, IEnumerable<KubeObject> sets)
    {
        JsonNode? wanted = WithoutHash(deployment.Spec.Get("template"));
        return sets.OrderBy(s => s.Created()).ThenBy(s => s.Name, StringComparer.Ordinal)
            .FirstOrDefault(s => JsonNode.DeepEquals(WithoutHash(s.Spec.Get("template")), wanted));
    }

    public static bool SameTemplate(KubeObject deployment, KubeObject set) =>
        JsonNode.DeepEquals(WithoutHash(deployment.Spec.Get("template")), WithoutHash(set.Spec.Get("template")));

    /// <summary>The template in canonical form without the hash label: what is compared and what is hashed.</summary>
    public static JsonNode? WithoutHash(JsonElement template)
    {
        JsonObject json = template.Object();
        if (json["metadata"] is JsonObject meta)
        {
            if (meta["labels"] is JsonObject labels)
            {
                labels.Remove(HashLabel);
                if (labels.Count == 0)
                {
                    meta.Remove("labels");
                }
            }

            if (meta["annotations"] is JsonObject { Count: 0 })
            {
                meta.Remove("annotations");
            }
        }

        return Documents.Canonical(json);
    }

    /// <summary>
    /// The annotations the new set should have (SetNewReplicaSetAnnotations): the deployment's own, the revision (never lowered), and
    /// when an old set becomes new again the revisions it had.
    /// </summary>
    public static Dictionary<string, string> NewSetAnnotations(
        KubeObject deployment, IReadOnlyDictionary<string, string> current, long newRevision, bool exists, RolloutBounds bounds)
    {
        Dictionary<string, string> result = new(current, StringComparer.Ordinal);
        foreach ((string key, string value) in deployment.Annotations)
        {
            if (!NotCopied.Contains(key))
            {
                result[key] = value;
            }
        }

        string oldRevision = current.GetValueOrDefault(Revision, "");
        _ = long.TryParse(oldRevision, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long old);
        if (old < newRevision)
        {
            result[Revision] = newRevision.ToString(CultureInfo.InvariantCulture);
            if (oldRevision.Length > 0)
            {
                result[History] = AppendHistory(current.GetValueOrDefault(History, ""), oldRevision);
            }
        }

        if (!exists)
        {
            result[Desired] = bounds.Replicas.ToString(CultureInfo.InvariantCulture);
            result[Max] = bounds.MaxTotal.ToString(CultureInfo.InvariantCulture);
        }

        return result;
    }

    public static SetSize Size(KubeObject set) => new(
        set.Name, set.Spec.Long("replicas", 1), set.Status.Long("availableReplicas"), set.Created(), Number(set, Max));

    private static string AppendHistory(string history, string revision)
    {
        List<string> all = [.. history.Split(',', StringSplitOptions.RemoveEmptyEntries), revision];
        while (all.Count > 1 && all.Sum(r => r.Length + 1) > HistoryCharsMax)
        {
            all.RemoveAt(0);
        }

        return string.Join(',', all);
    }
}
