using System.Xml.Linq;
using Xunit;

namespace Kapell.Tidy;

/// <summary>docs/ARCHITECTURE.md holds the table of rooms; the projects must be exactly that.</summary>
public sealed class ArrowTests
{
    [Fact]
    public void The_projects_are_the_rooms_of_the_table_with_its_zones_and_arrows()
    {
        SortedDictionary<string, string> drawn = new(Table(), StringComparer.Ordinal);
        SortedDictionary<string, string> built = new(Projects(), StringComparer.Ordinal);
        Assert.NotEmpty(drawn);
        Assert.Equal(string.Join('\n', drawn.Select(p => p.Key + ": " + p.Value)), string.Join('\n', built.Select(p => p.Key + ": " + p.Value)));
    }

    [Fact]
    public void The_table_has_no_circle()
    {
        Dictionary<string, string[]> arrows = Projects().ToDictionary(p => p.Key, p => p.Value.Split(" -> ")[1].Split(", ", StringSplitOptions.RemoveEmptyEntries));
        HashSet<string> settled = [];
        while (settled.Count < arrows.Count)
        {
            string[] free = [.. arrows.Where(a => !settled.Contains(a.Key) && a.Value.All(settled.Contains)).Select(a => a.Key)];
            Assert.NotEmpty(free);
            settled.UnionWith(free);
        }
    }

    private static Dictionary<string, string> Table()
    {
        Dictionary<string, string> rooms = new(StringComparer.Ordinal);
        foreach (string line in File.ReadLines(Path.Combine(Repository.Root, "docs/ARCHITECTURE.md")).Where(l => l.StartsWith("| `Kapell", StringComparison.Ordinal)))
        {
            string[] cells = [.. line.Split('|').Select(c => c.Trim())];
            string name = cells[1].Trim('`');
            string[] arrows = [.. cells[3].Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(a => "Kapell." + a).Order(StringComparer.Ordinal)];
            rooms.Add(name, cells[2] + " -> " + string.Join(", ", arrows));
        }

        return rooms;
    }

    private static Dictionary<string, string> Projects()
    {
        Dictionary<string, string> rooms = new(StringComparer.Ordinal);
        foreach (string file in Repository.Files("*.csproj", "src"))
        {
            XDocument project = XDocument.Load(file);
            string zone = project.Descendants("KapellZone").Single().Value;
            IEnumerable<string> arrows = project.Descendants("ProjectReference")
                .Where(r => (string?)r.Attribute("ReferenceOutputAssembly") != "false")
                .Select(r => Path.GetFileNameWithoutExtension(r.Attribute("Include")!.Value.Replace('\\', '/'))).Order(StringComparer.Ordinal);
            rooms.Add(Path.GetFileNameWithoutExtension(file), zone + " -> " + string.Join(", ", arrows));
        }

        return rooms;
    }
}
