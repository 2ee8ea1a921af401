using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>autoscaling/v1 Scale over any workload with <c>spec.replicas</c>.</summary>
internal static class ScaleView
{
    public static SubresourceDefinition Subresource { get; } = new()
    {
        Name = "scale",
        Kind = new("autoscaling", "v1", "Scale"),
        Verbs = ["get", "patch", "update"],
        View = View,
        Merge = Merge,
        ValidateView = static scale =>
        {
            List<FieldError> errors = [];
            Validating.NotNegativeNumber(errors, FieldPath.New("spec"), scale.Obj("spec"), "replicas");
            return errors;
        },
        PrepareForUpdate = static (updated, old, facts) => Strategies.UpdateWithSpecAndStatus(updated, old, facts),
    };

    private static JsonObject View(JsonObject parent)
    {
        JsonObject metadata = [];
        foreach (string field in new[] { "name", "namespace", "uid", "resourceVersion", "creationTimestamp" })
        {
            metadata.TakeFrom(field, parent.Obj("metadata") ?? []);
        }

        JsonObject spec = [];
        if (parent.Obj("spec").Long("replicas") is { } wanted and not 0)
        {
            spec["replicas"] = wanted;
        }

        JsonObject status = new() { ["replicas"] = parent.Obj("status").Long("replicas") ?? 0 };
        string selector = Selector(parent.Obj("spec").Obj("selector"));
        if (selector.Length > 0)
        {
            status["selector"] = selector;
        }

        return new JsonObject
        {
            ["kind"] = "Scale", ["apiVersion"] = "autoscaling/v1", ["metadata"] = metadata, ["spec"] = spec, ["status"] = status,
        };
    }

    private static void Merge(JsonObject parent, JsonObject scale)
    {
        parent.Ensure("spec")["replicas"] = scale.Obj("spec").Long("replicas") ?? 0;
        if (scale.Obj("metadata")?["resourceVersion"]?.DeepClone() is { } version)
        {
            parent.Ensure("metadata")["resourceVersion"] = version;
        }
    }

    private static string Selector(JsonObject? selector)
    {
        if (selector is null)
        {
            return "";
        }

        // A replication controller's selector is a map of labels itself.
        bool plain = !selector.ContainsKey("matchLabels") && !selector.ContainsKey("matchExpressions");
        using JsonDocument document = JsonDocument.Parse(JsonBytes.Of(selector));
        string text = plain
            ? Columns.Labels(selector.ToDictionary(p => p.Key, p => p.Value.AsText() ?? "", StringComparer.Ordinal))
            : Columns.LabelSelector(document.RootElement);
        return text == Columns.None ? "" : text;
    }
}
