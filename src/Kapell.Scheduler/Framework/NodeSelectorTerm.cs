using System.Globalization;
using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.Scheduler.Framework;

/// <summary>One term of a node affinity: all its requirements on labels and on the node's name must hold. An empty term matches nothing.</summary>
public sealed class NodeSelectorTerm
{
    private readonly IReadOnlyList<Requirement> _labels;
    private readonly IReadOnlyList<Requirement> _fields;

    private NodeSelectorTerm(IReadOnlyList<Requirement> labels, IReadOnlyList<Requirement> fields)
    {
        _labels = labels;
        _fields = fields;
    }

    public static NodeSelectorTerm From(JsonElement term) =>
        new([.. term.Items("matchExpressions").Select(Requirement.From)], [.. term.Items("matchFields").Select(Requirement.From)]);

    public bool Matches(KubeObject node) =>
        (_labels.Count > 0 || _fields.Count > 0)
        && _labels.All(r => r.Holds(node.Labels.GetValueOrDefault(r.Key)))
        && _fields.All(r => r.Key == "metadata.name" && r.Holds(node.Name));

    private sealed record Requirement(string Key, string Operator, IReadOnlyList<string> Values)
    {
        public static Requirement From(JsonElement r) => new(
            r.Text("key"), r.Text("operator"), [.. r.Items("values").Where(v => v.ValueKind == JsonValueKind.String).Select(v => v.GetString()!)]);

        public bool Holds(string? value) => Operator switch
        {
            "In" => value is not null && Values.Contains(value),
            "NotIn" => value is null || !Values.Contains(value),
            "Exists" => value is not null,
            "DoesNotExist" => value is null,
            "Gt" => Compare(value) > 0,
            "Lt" => Compare(value) < 0,
            _ => false,
        };

        /// <summary>0 also when either side is no integer: then neither Gt nor Lt holds.</summary>
        private int Compare(string? value) =>
            Values.Count == 1
            && long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long have)
            && long.TryParse(Values[0], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long want)
                ? have.CompareTo(want)
                : 0;
    }
}
