using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.Controllers.Shared;

/// <summary>
/// Whether an object's labels meet a LabelSelector object (metav1.LabelSelector) or a plain map (a Service's selector). An absent selector
/// matches nothing, an empty one everything, as upstream's LabelSelectorAsSelector.
/// </summary>
internal sealed class LabelMatch
{
    private readonly IReadOnlyDictionary<string, string> _equal;
    private readonly List<(string Key, string Operator, HashSet<string> Values)> _expressions;
    private readonly bool _nothing;

    private LabelMatch(IReadOnlyDictionary<string, string> equal, List<(string, string, HashSet<string>)> expressions, bool nothing)
    {
        _equal = equal;
        _expressions = expressions;
        _nothing = nothing;
    }

    public bool IsEmpty => !_nothing && _equal.Count == 0 && _expressions.Count == 0;

    public static LabelMatch Of(JsonElement selector)
    {
        if (selector.ValueKind != JsonValueKind.Object)
        {
            return new LabelMatch(new Dictionary<string, string>(), [], nothing: true);
        }

        List<(string, string, HashSet<string>)> expressions = [];
        foreach (JsonElement e in selector.Items("matchExpressions"))
        {
            expressions.Add((e.Text("key"), e.Text("operator"), [.. e.Items("values").Select(v => v.GetString() ?? "")]));
        }

        return new LabelMatch(selector.TextMap("matchLabels"), expressions, nothing: false);
    }

    public static LabelMatch OfMap(IReadOnlyDictionary<string, string> labels) => new(labels, [], nothing: false);

    public bool Matches(IReadOnlyDictionary<string, string> labels)
    {
        if (_nothing)
        {
            return false;
        }

        foreach ((string key, string value) in _equal)
        {
            if (!labels.TryGetValue(key, out string? have) || have != value)
            {
                return false;
            }
        }

        return _expressions.TrueForAll(e => e.Operator switch
        {
            "In" => labels.TryGetValue(e.Key, out string? v) && e.Values.Contains(v),
            "NotIn" => !labels.TryGetValue(e.Key, out string? v) || !e.Values.Contains(v),
            "Exists" => labels.ContainsKey(e.Key),
            "DoesNotExist" => !labels.ContainsKey(e.Key),
            _ => false,
        });
    }
}
