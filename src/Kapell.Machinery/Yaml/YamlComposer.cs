using System.Text.Json.Nodes;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Kapell.Machinery.Yaml;

/// <summary>Builds JSON of a parser's events, counting what it builds: a few aliases can stand for a billion values.</summary>
internal sealed class YamlComposer(IParser parser)
{
    private readonly Dictionary<AnchorName, JsonNode?> _anchors = [];
    private int _nodes;

    public List<string> Duplicates { get; } = [];

    public List<JsonNode?> Documents(int max)
    {
        List<JsonNode?> documents = [];
        parser.Consume<StreamStart>();
        while (documents.Count < max && !parser.Accept<StreamEnd>(out _))
        {
            parser.Consume<DocumentStart>();
            _anchors.Clear();
            JsonNode? document = Node(0, "");
            parser.Consume<DocumentEnd>();
            if (document is not null)
            {
                documents.Add(document);
            }
        }

        return documents;
    }

    private JsonNode? Node(int depth, string path)
    {
        if (depth > YamlToJson.DepthMax)
        {
            throw Refused("exceeded max depth");
        }

        Count(1);
        if (parser.TryConsume<AnchorAlias>(out var alias))
        {
            if (!_anchors.TryGetValue(alias.Value, out JsonNode? known))
            {
                throw Refused($"unknown anchor '{alias.Value}' referenced");
            }

            Count(SizeOf(known, depth));
            return known?.DeepClone();
        }

        if (parser.TryConsume<Scalar>(out var scalar))
        {
            return Anchored(scalar.Anchor, YamlToJson.Resolve(scalar));
        }

        if (parser.TryConsume<SequenceStart>(out var sequence))
        {
            JsonArray list = [];
            while (!parser.TryConsume<SequenceEnd>(out _))
            {
                list.Add(Node(depth + 1, $"{path}[{list.Count}]"));
            }

            return Anchored(sequence.Anchor, list);
        }

        MappingStart mapping = parser.Consume<MappingStart>();
        return Anchored(mapping.Anchor, Mapping(depth, path));
    }

    private JsonObject Mapping(int depth, string path)
    {
        JsonObject result = [];
        JsonObject merged = [];
        while (!parser.TryConsume<MappingEnd>(out _))
        {
            if (parser.Accept<Scalar>(out var merge) && merge.Value == "<<" && merge.Style == ScalarStyle.Plain)
            {
                parser.Consume<Scalar>();
                Merge(merged, Node(depth + 1, path));
                continue;
            }

            if (!parser.Accept<Scalar>(out _))
            {
                throw Refused("invalid map key: a mapping or sequence cannot be a key");
            }

            string key = KeyText(parser.Consume<Scalar>());
            string place = path.Length == 0 ? key : path + "." + key;
            if (result.ContainsKey(key) && Duplicates.Count < 100)
            {
                Duplicates.Add($"line {parser.Current?.Start.Line}: key \"{key}\" already set in map");
            }

            result[key] = Node(depth + 1, place);
        }

        Merge(result, merged);
        return result;
    }

    // Keys are text in JSON: a key that YAML reads as a number or a boolean is written as that.
    private static string KeyText(Scalar scalar) => YamlToJson.Resolve(scalar) is { } node ? node.AsText() ?? node.ToJsonString() : scalar.Value.Length == 0 || scalar.Value == "~" ? "null" : scalar.Value;

    private void Merge(JsonObject into, JsonNode? from)
    {
        if (from is JsonArray list)
        {
            foreach (JsonNode? item in list)
            {
                Merge(into, item);
            }

            return;
        }

        if (from is not JsonObject map)
        {
            throw Refused("map merge requires map or sequence of maps as the value");
        }

        foreach ((string name, JsonNode? value) in map)
        {
            if (!into.ContainsKey(name))
            {
                into[name] = value?.DeepClone();
            }
        }
    }

    private JsonNode? Anchored(AnchorName anchor, JsonNode? node)
    {
        if (!anchor.IsEmpty)
        {
            Count(SizeOf(node, 0));
            _anchors[anchor] = node?.DeepClone();
        }

        return node;
    }

    private int SizeOf(JsonNode? node, int depth)
    {
        if (depth > YamlToJson.DepthMax)
        {
            throw Refused("exceeded max depth");
        }

        int size = 1;
        IEnumerable<JsonNode?> inner = node switch { JsonObject o => o.Select(p => p.Value), JsonArray a => a, _ => [] };
        foreach (JsonNode? child in inner)
        {
            size += SizeOf(child, depth + 1);
            if (size > YamlToJson.NodesMax)
            {
                throw Refused("document contains excessive aliasing");
            }
        }

        return size;
    }

    private void Count(int nodes)
    {
        _nodes += nodes;
        if (_nodes > YamlToJson.NodesMax)
        {
            throw Refused("document contains excessive aliasing");
        }
    }

    private YamlException Refused(string why) => new(parser.Current?.Start ?? Mark.Empty, parser.Current?.End ?? Mark.Empty, why);
}
