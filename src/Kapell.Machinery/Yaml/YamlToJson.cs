using System.Text;
using System.Text.Json.Nodes;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Kapell.Machinery.Yaml;

/// <summary>
/// YAML to JSON as Kubernetes reads it (sigs.k8s.io/yaml): YAML 1.1 booleans, octal and hexadecimal integers, merge keys; keys become
/// text. Aliases may not expand a document beyond <see cref="NodesMax"/> values, nor may it nest deeper than <see cref="DepthMax"/>.
/// </summary>
public static class YamlToJson
{
    public const int DepthMax = 100;

    public const int NodesMax = 200_000;

    /// <summary>The first document. An empty one is JSON's null.</summary>
    /// <exception cref="StatusException">BadRequest: not YAML, too deep, too large.</exception>
    public static JsonNode? Convert(ReadOnlySpan<byte> utf8, out List<string> duplicates)
    {
        List<JsonNode?> documents = ConvertAll(utf8, 1, out duplicates);
        return documents.Count > 0 ? documents[0] : null;
    }

    /// <summary>As bytes of JSON, for decoders. Duplicate keys: the last wins, as with JSON; strict checking reports <paramref name="duplicates"/>.</summary>
    public static byte[] ToUtf8(ReadOnlySpan<byte> utf8, out List<string> duplicates) =>
        Convert(utf8, out duplicates) is { } node ? JsonBytes.Of(node) : "null"u8.ToArray();

    /// <summary>All documents of a stream, the empty ones left out.</summary>
    public static List<JsonNode?> ConvertAll(ReadOnlySpan<byte> utf8) => ConvertAll(utf8, int.MaxValue, out _);

    private static List<JsonNode?> ConvertAll(ReadOnlySpan<byte> utf8, int documentsMax, out List<string> duplicates)
    {
        YamlComposer composer = new(new Parser(new StringReader(Encoding.UTF8.GetString(utf8))));
        duplicates = composer.Duplicates;
        try
        {
            return composer.Documents(documentsMax);
        }
        catch (YamlException e)
        {
            throw new StatusException(Status.BadRequest($"error converting YAML to JSON: yaml: line {e.Start.Line}: {e.InnerException?.Message ?? e.Message}"));
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            // The library's for some text that is no YAML; its words say nothing of that.
            throw new StatusException(Status.BadRequest("error converting YAML to JSON: yaml: it is not valid YAML"));
        }
    }

    /// <summary>A plain scalar's value by YAML 1.1's rules, as gopkg.in/yaml.v2 resolves them.</summary>
    internal static JsonNode? Resolve(Scalar scalar)
    {
        string text = scalar.Value;
        if (scalar.Style != ScalarStyle.Plain || (!scalar.Tag.IsEmpty && scalar.Tag.Value is "!!str" or "tag:yaml.org,2002:str" or "!"))
        {
            return JsonValue.Create(text);
        }

        return text switch
        {
            "" or "~" or "null" or "Null" or "NULL" => null,
            "y" or "Y" or "yes" or "Yes" or "YES" or "true" or "True" or "TRUE" or "on" or "On" or "ON" => JsonValue.Create(true),
            "n" or "N" or "no" or "No" or "NO" or "false" or "False" or "FALSE" or "off" or "Off" or "OFF" => JsonValue.Create(false),
            _ => YamlNumbers.Parse(text) ?? JsonValue.Create(text),
        };
    }
}
