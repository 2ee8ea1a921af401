using System.Text.Json;

namespace Kapell.ApiServer.Verbs;

/// <summary>Names that stand twice in one object of a JSON text, in upstream's words for strict decoding (sigs.k8s.io/json).</summary>
internal static class DuplicateFields
{
    /// <summary>More than this tell nobody more.</summary>
    private const int ReportedMax = 100;

    /// <param name="json">A text that has been parsed before: its depth is bounded.</param>
    public static List<string> In(byte[] json)
    {
        List<string> found = [];
        using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 128 });
        Walk(document.RootElement, "", found);
        return found;
    }

    private static void Walk(JsonElement element, string path, List<string> found)
    {
        if (element.ValueKind == JsonValueKind.Array)
        {
            int i = 0;
            foreach (JsonElement item in element.EnumerateArray())
            {
                Walk(item, $"{path}[{i++}]", found);
            }
        }

        if (element.ValueKind != JsonValueKind.Object)
        {
            return;
        }

        HashSet<string> names = new(StringComparer.Ordinal);
        foreach (JsonProperty property in element.EnumerateObject())
        {
            string at = path.Length == 0 ? property.Name : path + "." + property.Name;
            if (!names.Add(property.Name) && found.Count < ReportedMax)
            {
                found.Add($"duplicate field \"{at}\"");
            }

            Walk(property.Value, at, found);
        }
    }
}
