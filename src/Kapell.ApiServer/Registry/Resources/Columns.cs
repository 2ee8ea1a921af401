using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>Columns and cells that many kinds show (upstream: pkg/printers/internalversion).</summary>
internal static class Columns
{
    public const string None = "<none>";

    private const string ContainersText = "Names of each container in the template.";
    private const string ImagesText = "Images referenced by each container in the template.";

    public static PrinterColumn Name { get; } = new("Name", "string", "Name must be unique within a namespace.", 0, "name");

    public static PrinterColumn Age { get; } = new("Age", "string", "Time since the server created the object.");

    public static PrinterColumn Containers { get; } = new("Containers", "string", ContainersText, 1);

    public static PrinterColumn Images { get; } = new("Images", "string", ImagesText, 1);

    public static PrinterColumn Selector { get; } = new("Selector", "string", "A label query over pods.", 1);

    public static PrinterColumn Text(string name, string description, int priority = 0) => new(name, "string", description, priority);

    public static PrinterColumn Number(string name, string description, int priority = 0) => new(name, "integer", description, priority);

    public static string NameOf(JsonElement o) => o.Get("metadata").Text("name");

    public static string ContainerNames(JsonElement podSpec) => string.Join(',', podSpec.Items("containers").Select(c => c.Text("name")));

    public static string ContainerImages(JsonElement podSpec) => string.Join(',', podSpec.Items("containers").Select(c => c.Text("image")));

    /// <summary>A map of labels as <c>a=b,c=d</c>, sorted (apimachinery: labels.FormatLabels).</summary>
    public static string Labels(IReadOnlyDictionary<string, string> labels) => labels.Count == 0
        ? None
        : string.Join(',', labels.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => p.Key + "=" + p.Value));

    /// <summary>A label selector object as text (apimachinery: metav1.FormatLabelSelector).</summary>
    public static string LabelSelector(JsonElement selector)
    {
        List<(string Key, string Text)> parts = [];
        foreach ((string key, string value) in selector.TextMap("matchLabels"))
        {
            parts.Add((key, key + "=" + value));
        }

        foreach (JsonElement e in selector.Items("matchExpressions"))
        {
            string key = e.Text("key");
            string values = string.Join(',', e.Items("values").Select(v => v.GetString()).Order(StringComparer.Ordinal));
            string? text = e.Text("operator") switch
            {
                "In" => $"{key} in ({values})",
                "NotIn" => $"{key} notin ({values})",
                "Exists" => key,
                "DoesNotExist" => "!" + key,
                _ => null,
            };
            if (text is null)
            {
                return "<error>";
            }

            parts.Add((key, text));
        }

        return parts.Count == 0 ? None : string.Join(',', parts.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => p.Text));
    }

    public static string OrNone(string text) => text.Length == 0 ? None : text;
}
