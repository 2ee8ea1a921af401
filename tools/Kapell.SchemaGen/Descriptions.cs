using System.Reflection;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using k8s.Models;

namespace Kapell.SchemaGen;

/// <summary>The descriptions in the package's XML documentation, back on one line each.</summary>
internal sealed partial class Descriptions
{
    private readonly Dictionary<string, string> _texts = new(StringComparer.Ordinal);

    /// <summary>The XML file lies in the package folder, whose path the build hands down as assembly metadata.</summary>
    public static Descriptions Load()
    {
        string folder = typeof(Descriptions).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
            .Single(a => a.Key == "KubernetesClientPackage").Value!;
        string file = Path.Combine(folder, "lib", "net10.0", Path.ChangeExtension(Path.GetFileName(typeof(V1Pod).Assembly.Location), ".xml"));
        Descriptions all = new();
        foreach (XElement member in XDocument.Load(file).Descendants("member"))
        {
            string name = (string?)member.Attribute("name") ?? "";
            if (name.StartsWith("P:k8s.Models.", StringComparison.Ordinal) || name.StartsWith("T:k8s.Models.", StringComparison.Ordinal))
            {
                all._texts[name] = Space().Replace(member.Element("summary")?.Value ?? "", " ").Trim();
            }
        }

        return all;
    }

    public string Of(Type type) => _texts.GetValueOrDefault("T:" + type.FullName, "");

    public string Of(PropertyInfo property) => _texts.GetValueOrDefault("P:" + property.DeclaringType!.FullName + "." + property.Name, "");

    [GeneratedRegex(@"\s+")]
    private static partial Regex Space();
}
