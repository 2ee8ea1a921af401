namespace Kapell.SchemaGen;

/// <summary>What the checked-in table says of one type: package, whether it is one value for apply, and its fields' facts.</summary>
internal sealed record TypeFacts(string Package, string Name, bool Atomic)
{
    public Dictionary<string, Dictionary<string, string>> Fields { get; } = new(StringComparer.Ordinal);

    public string FullName => Package + "." + Name;
}

/// <summary>The table of facts (facts.txt): indentation 0 is a package, 1 a type, 2 a field.</summary>
internal sealed class Facts
{
    private readonly Dictionary<string, List<TypeFacts>> _byName = new(StringComparer.OrdinalIgnoreCase);

    public static Facts Read(IEnumerable<string> lines)
    {
        Facts facts = new();
        string package = "";
        TypeFacts? type = null;
        foreach (string line in lines.Where(l => l.Length > 0 && l[0] != '#'))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (line.StartsWith("  ", StringComparison.Ordinal))
            {
                type!.Fields[words[0]] = words[1..].Select(w => w.Split('=', 2)).ToDictionary(w => w[0], w => w.Length > 1 ? w[1] : "");
            }
            else if (line[0] == ' ')
            {
                type = new TypeFacts(package, words[0], words.Contains("atomic"));
                if (!facts._byName.TryGetValue(type.Name, out List<TypeFacts>? same))
                {
                    facts._byName[type.Name] = same = [];
                }

                same.Add(type);
            }
            else
            {
                package = words[0];
            }
        }

        return facts;
    }

    /// <param name="group">From a model's name that says its group (<c>Corev1Event</c>), or null.</param>
    /// <param name="user">The package that refers to the type: its own types come first, then meta's, then core's.</param>
    public TypeFacts Find(string name, string? group, string user)
    {
        if (!_byName.TryGetValue(name, out List<TypeFacts>? all))
        {
            // A type younger than the table (behind a feature gate upstream): it lives beside its user and has no facts.
            return new TypeFacts(user, name, Atomic: false);
        }

        if (group is not null)
        {
            return all.Single(t => t.Package.Split('.')[^2].Equals(group, StringComparison.OrdinalIgnoreCase));
        }

        return all.Find(t => t.Package == user)
            ?? all.Find(t => t.Package.EndsWith(".meta.v1", StringComparison.Ordinal))
            ?? all.Find(t => t.Package == "io.k8s.api.core.v1")
            ?? all.Single();
    }
}
