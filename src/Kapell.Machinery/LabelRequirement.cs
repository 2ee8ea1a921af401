using System.Globalization;

namespace Kapell.Machinery;

/// <summary>How a label selector's requirement compares.</summary>
public enum LabelOperator
{
    Equal,
    DoubleEqual,
    NotEqual,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// <summary>One requirement of a label selector: key, operator, values (apimachinery labels.Requirement).</summary>
public sealed record LabelRequirement(string Key, LabelOperator Operator, IReadOnlyList<string> Values)
{
    public bool Matches(IReadOnlyDictionary<string, string> labels)
    {
        bool exists = labels.TryGetValue(Key, out string? value);
        return Operator switch
        {
            LabelOperator.Equal or LabelOperator.DoubleEqual or LabelOperator.In => exists && Values.Contains(value!),
            LabelOperator.NotEqual or LabelOperator.NotIn => !exists || !Values.Contains(value!),
            LabelOperator.Exists => exists,
            LabelOperator.DoesNotExist => !exists,
            _ => exists && Number(value!) is long mine && Number(Values[0]) is long bound
                && (Operator == LabelOperator.GreaterThan ? mine > bound : mine < bound),
        };
    }

    public override string ToString()
    {
        string values = string.Join(",", Values.Order(StringComparer.Ordinal));
        return Operator switch
        {
            LabelOperator.Equal => $"{Key}={values}",
            LabelOperator.DoubleEqual => $"{Key}=={values}",
            LabelOperator.NotEqual => $"{Key}!={values}",
            LabelOperator.In => $"{Key} in ({values})",
            LabelOperator.NotIn => $"{Key} notin ({values})",
            LabelOperator.Exists => Key,
            LabelOperator.DoesNotExist => "!" + Key,
            LabelOperator.GreaterThan => $"{Key}>{values}",
            _ => $"{Key}<{values}",
        };
    }

    /// <summary>Upstream: labels.NewRequirement; null when good, else the joined field errors.</summary>
    internal static string? Fault(string key, LabelOperator op, IReadOnlyList<string> values)
    {
        List<FieldError> errors = [];
        IReadOnlyList<string> keyFaults = Names.IsQualifiedName(key);
        if (keyFaults.Count > 0)
        {
            errors.Add(FieldError.Invalid(FieldPath.New("key"), key, string.Join("; ", keyFaults)));
        }

        FieldPath path = FieldPath.New("values");
        System.Text.Json.Nodes.JsonArray shown = [.. values.Select(v => (System.Text.Json.Nodes.JsonNode)v)];
        switch (op)
        {
            case LabelOperator.In or LabelOperator.NotIn when values.Count == 0:
                errors.Add(FieldError.Invalid(path, shown, "for 'in', 'notin' operators, values set can't be empty"));
                break;
            case LabelOperator.Equal or LabelOperator.DoubleEqual or LabelOperator.NotEqual when values.Count != 1:
                errors.Add(FieldError.Invalid(path, shown, "exact-match compatibility requires one single value"));
                break;
            case LabelOperator.Exists or LabelOperator.DoesNotExist when values.Count != 0:
                errors.Add(FieldError.Invalid(path, shown, "values set must be empty for exists and does not exist"));
                break;
            case LabelOperator.GreaterThan or LabelOperator.LessThan:
                if (values.Count != 1)
                {
                    errors.Add(FieldError.Invalid(path, shown, "for 'Gt', 'Lt' operators, exactly one value is required"));
                }

                errors.AddRange(values.Select((v, i) => (v, i)).Where(x => Number(x.v) is null)
                    .Select(x => FieldError.Invalid(path.Index(x.i), x.v, "for 'Gt', 'Lt' operators, the value must be an integer")));
                break;
        }

        for (int i = 0; i < values.Count; i++)
        {
            IReadOnlyList<string> faults = Names.IsLabelValue(values[i]);
            if (faults.Count > 0)
            {
                errors.Add(FieldError.Invalid(path.Index(i).Key(key), values[i], string.Join("; ", faults)));
            }
        }

        return errors.Count switch { 0 => null, 1 => errors[0].ToString(), _ => "[" + string.Join(", ", errors) + "]" };
    }

    private static long? Number(string text) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long n) ? n : null;
}
