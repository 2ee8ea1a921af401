using System.Globalization;
using System.Text.RegularExpressions;
using Kapell.Base;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Kapell.Etcd.Server;

internal enum YamlKind
{
    Null,
    Text,
    Bool,
    Number,
}

/// <summary>What a value of a YAML file is, by the rules of etcd's library: those of YAML 1.1, with some of 1.2. sigs.k8s.io/yaml: goyaml.v2 resolve</summary>
/// <param name="Kind">A plain word may be no text: <c>on</c>, <c>1e9</c>, <c>~</c>.</param>
/// <param name="Value">As a flag takes it: true or false, or digits.</param>
internal sealed partial record YamlScalar(YamlKind Kind, string Value)
{
    private const double WholeMax = 1e18;
    private const string TagPrefix = "tag:yaml.org,2002:";

    public static YamlScalar Of(YamlScalarNode node)
    {
        string text = node.Value ?? "";
        string tag = node.Tag.IsEmpty ? "" : node.Tag.Value.Replace(TagPrefix, "!!", StringComparison.Ordinal);
        bool isPlain = tag switch
        {
            "" or "?" => node.Style is ScalarStyle.Plain or ScalarStyle.Any,
            "!!null" or "!!bool" or "!!int" or "!!float" => true,
            _ => false,
        };
        return isPlain ? Resolve(text) : new YamlScalar(YamlKind.Text, text);
    }

    private static YamlScalar Resolve(string text)
    {
        switch (text)
        {
            case "" or "~" or "null" or "Null" or "NULL":
                return new YamlScalar(YamlKind.Null, "");
            case "y" or "Y" or "yes" or "Yes" or "YES" or "true" or "True" or "TRUE" or "on" or "On" or "ON":
                return new YamlScalar(YamlKind.Bool, "true");
            case "n" or "N" or "no" or "No" or "NO" or "false" or "False" or "FALSE" or "off" or "Off" or "OFF":
                return new YamlScalar(YamlKind.Bool, "false");
        }

        if (!char.IsAsciiDigit(text[0]) && text[0] is not ('+' or '-' or '.'))
        {
            return new YamlScalar(YamlKind.Text, text);
        }

        string number = text.Replace("_", "", StringComparison.Ordinal);
        if (Whole(number) is { } whole)
        {
            return new YamlScalar(YamlKind.Number, whole);
        }

        if (FloatForm().IsMatch(number))
        {
            double value = double.Parse(number, NumberStyles.Float, CultureInfo.InvariantCulture);
            bool isWhole = Math.Abs(value) < WholeMax && value == Math.Truncate(value);
            return new YamlScalar(YamlKind.Number, isWhole ? ((long)value).ToString(CultureInfo.InvariantCulture) : value.ToString("R", CultureInfo.InvariantCulture));
        }

        return new YamlScalar(
            text.TrimStart('+', '-') is ".inf" or ".Inf" or ".INF" || text is ".nan" or ".NaN" or ".NAN" ? YamlKind.Number : YamlKind.Text, text);
    }

    private static string? Whole(string number)
    {
        try
        {
            return number[0] is '-' or '+' ? GoNumber.ParseSigned(number).ToString(CultureInfo.InvariantCulture)
                : GoNumber.ParseUnsigned(number).ToString(CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is FormatException or OverflowException)
        {
            return null;
        }
    }

    [GeneratedRegex(@"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\z", RegexOptions.CultureInvariant)]
    private static partial Regex FloatForm();
}
