namespace Kapell.SchemaGen;

/// <summary>
/// The table of protobuf field numbers (wire.txt): indentation 0 is a package, 1 a type with its fields. A field's place is a path of
/// numbers, for what lies beside the others in JSON may lie in a message of its own on the wire (<c>Volume.emptyDir</c> is 2/2).
/// </summary>
internal sealed class WireFacts
{
    private sealed record Field(string Name, string Number, string Mark, string Group);

    private readonly Dictionary<string, List<Field>> _types = new(StringComparer.Ordinal);

    public static WireFacts Read(IEnumerable<string> lines)
    {
        WireFacts facts = new();
        string package = "";
        foreach (string line in lines.Where(l => l.Length > 0 && l[0] != '#'))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (line[0] != ' ')
            {
                package = words[0];
                continue;
            }

            facts._types.Add($"{package}.{words[0]}", [.. words[1..].Select(Parse)]);
        }

        return facts;
    }

    /// <summary>By the field's name in JSON: <c>2/2*</c>. Empty when the type has no wire form.</summary>
    public Dictionary<string, string> Of(string package, string type)
    {
        Dictionary<string, string> places = new(StringComparer.Ordinal);
        Collect(package, type, "", places);
        return places;
    }

    private void Collect(string package, string type, string path, Dictionary<string, string> places)
    {
        if (!_types.TryGetValue($"{package}.{type}", out List<Field>? fields))
        {
            if (path.Length > 0)
            {
                throw new InvalidOperationException($"wire.txt: no type {package}.{type}, which another names as its group");
            }

            return;
        }

        foreach (Field field in fields)
        {
            if (field.Group.Length > 0)
            {
                Collect(package, field.Group, path + field.Number + "/", places);
            }
            else
            {
                places[field.Name] = path + field.Number + field.Mark;
            }
        }
    }

    private static Field Parse(string word)
    {
        string[] parts = word.Split('=');
        string mark = parts[1][^1] is '*' or '!' ? parts[1][^1..] : "";
        string number = mark.Length == 0 ? parts[1] : parts[1][..^1];
        return parts[0][0] == '>' ? new Field("", number, mark, parts[0][1..]) : new Field(parts[0], number, mark, "");
    }
}
