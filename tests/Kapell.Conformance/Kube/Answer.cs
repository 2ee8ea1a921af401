using System.Text.Json.Nodes;
using Xunit;

namespace Kapell.Conformance.Kube;

/// <summary>One answer of the server, and what a test demands of it.</summary>
internal sealed record Answer(int Code, string Body, IReadOnlyDictionary<string, string[]> Headers, string Request)
{
    private JsonNode? _json;

    public JsonNode Json => _json ??= JsonNode.Parse(Body) ?? throw new InvalidOperationException("null");

    /// <summary>The text at a dotted path (<c>items.0.metadata.name</c>); empty when there is nothing.</summary>
    public string this[string path] => At(path)?.ToString() ?? "";

    public string[] Warnings => Headers.TryGetValue("Warning", out string[]? found) ? found : [];

    public string Version => this["metadata.resourceVersion"];

    public JsonNode? At(string path) => At(Json, path);

    public static JsonNode? At(JsonNode? node, string path)
    {
        foreach (string step in path.Split('.'))
        {
            node = node switch
            {
                JsonObject o => o[step.Replace('~', '.')],
                JsonArray a when int.TryParse(step, out int i) => i < a.Count ? a[i] : null,
                _ => null,
            };
        }

        return node;
    }

    public string[] Names() => [.. (At("items") as JsonArray ?? []).Select(i => (string)i!["metadata"]!["name"]!)];

    /// <summary>Demands a code and gives the answer back.</summary>
    public Answer Is(int code)
    {
        Assert.True(Code == code, $"{Request}: {code} wanted, {Code} came: {Body}");
        return this;
    }

    /// <summary>Demands a failure Status with exactly this code, reason and message.</summary>
    public Answer Fails(int code, string reason, string message)
    {
        Is(code);
        Assert.Equal("Status", this["kind"]);
        Assert.Equal("v1", this["apiVersion"]);
        Assert.Equal("Failure", this["status"]);
        Assert.Equal(message, this["message"]);
        Assert.Equal(reason, this["reason"]);
        Assert.Equal(code.ToString(), this["code"]);
        return this;
    }

    /// <summary>Demands details about this object; an empty text demands the absence of the field.</summary>
    public Answer About(string kind, string group, string name)
    {
        Assert.Equal((kind, group, name), (this["details.kind"], this["details.group"], this["details.name"]));
        return this;
    }

    /// <summary>Demands exactly these causes, each written as <c>reason|field|message</c>, in order.</summary>
    public Answer Because(params string[] causes)
    {
        string[] found = [.. (At("details.causes") as JsonArray ?? []).Select(c => $"{c!["reason"]}|{c["field"]}|{c["message"]}")];
        Assert.Equal(causes, found);
        return this;
    }
}
