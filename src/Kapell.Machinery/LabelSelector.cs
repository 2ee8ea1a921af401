using System.Text.Json;

namespace Kapell.Machinery;

/// <summary>
/// Chooses objects by their labels: all requirements must hold (apimachinery labels.Selector). Immutable. <see cref="Everything"/>
/// has no requirement; <see cref="Nothing"/> matches no object and is what an absent metav1.LabelSelector means.
/// </summary>
public sealed class LabelSelector
{
    private readonly bool _nothing;

    private LabelSelector(IReadOnlyList<LabelRequirement> requirements, bool nothing)
    {
        Requirements = requirements;
        _nothing = nothing;
    }

    public static LabelSelector Everything { get; } = new([], nothing: false);

    public static LabelSelector Nothing { get; } = new([], nothing: true);

    /// <summary>Sorted by key.</summary>
    public IReadOnlyList<LabelRequirement> Requirements { get; }

    public bool IsEverything => Requirements.Count == 0 && !_nothing;

    public bool IsNothing => _nothing;

    /// <summary>From a query parameter: <c>a=b,c!=d,e in (x,y),!f,g>1</c>. Empty text is everything.</summary>
    /// <exception cref="StatusException">BadRequest with upstream's words.</exception>
    public static LabelSelector Parse(string text) =>
        TryParse(text, out LabelSelector selector, out string error) ? selector : throw new StatusException(Status.BadRequest(error));

    public static bool TryParse(string text, out LabelSelector selector, out string error)
    {
        List<LabelRequirement>? requirements = new LabelSelectorParser(text).Parse(out error);
        selector = requirements is null ? Nothing : Of(requirements);
        return requirements is not null;
    }

    /// <summary>From an object's metav1.LabelSelector. Absent or null selects nothing, an empty object everything.</summary>
    /// <exception cref="StatusException">BadRequest with upstream's words.</exception>
    public static LabelSelector FromJson(JsonElement selector) =>
        TryFromJson(selector, out LabelSelector result, out string error) ? result : throw new StatusException(Status.BadRequest(error));

    public static bool TryFromJson(JsonElement selector, out LabelSelector result, out string error)
    {
        result = Nothing;
        error = "";
        if (selector.ValueKind != JsonValueKind.Object)
        {
            return true;
        }

        List<LabelRequirement> requirements = [];
        foreach ((string key, string value) in selector.TextMap("matchLabels").OrderBy(p => p.Key, StringComparer.Ordinal))
        {
            requirements.Add(new LabelRequirement(key, LabelOperator.Equal, [value]));
        }

        foreach (JsonElement expression in selector.Items("matchExpressions"))
        {
            string op = expression.Text("operator");
            LabelOperator? known = op switch
            {
                "In" => LabelOperator.In,
                "NotIn" => LabelOperator.NotIn,
                "Exists" => LabelOperator.Exists,
                "DoesNotExist" => LabelOperator.DoesNotExist,
                "Gt" => LabelOperator.GreaterThan,
                "Lt" => LabelOperator.LessThan,
                _ => null,
            };
            if (known is null)
            {
                error = $"\"{op}\" is not a valid label selector operator";
                return false;
            }

            string[] values = [.. expression.Items("values").Where(v => v.ValueKind == JsonValueKind.String).Select(v => v.GetString()!)];
            requirements.Add(new LabelRequirement(expression.Text("key"), known.Value, values));
        }

        foreach (LabelRequirement r in requirements)
        {
            if (LabelRequirement.Fault(r.Key, r.Operator, r.Values) is { } fault)
            {
                error = fault;
                return false;
            }
        }

        result = Of(requirements);
        return true;
    }

    /// <summary>All of these labels exactly (spec.selector of Services and ReplicationControllers). Empty is everything.</summary>
    public static LabelSelector FromMap(IReadOnlyDictionary<string, string> labels) =>
        Of([.. labels.Select(p => new LabelRequirement(p.Key, LabelOperator.Equal, [p.Value]))]);

    /// <summary>The given requirements, unchecked; node selectors build theirs with this.</summary>
    public static LabelSelector Of(IReadOnlyList<LabelRequirement> requirements) =>
        requirements.Count == 0 ? Everything : new([.. requirements.OrderBy(r => r.Key, StringComparer.Ordinal)], nothing: false);

    public bool Matches(IReadOnlyDictionary<string, string> labels)
    {
        foreach (LabelRequirement requirement in Requirements)
        {
            if (!requirement.Matches(labels))
            {
                return false;
            }
        }

        return !_nothing;
    }

    public override string ToString() => string.Join(",", Requirements);
}
