using System.Globalization;
using Kapell.Base;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Kapell.Etcd.Server;

/// <summary>
/// Settings from a YAML or JSON file, under the names of the flags; those of TLS stand in sections of their own. When there is a file,
/// flags and variables are not looked at. etcd: embed/config.go ConfigFromFile
/// </summary>
internal static class EtcdConfigFile
{
    private const long BytesMax = 1 << 20;

    private static readonly Dictionary<string, string> Renamed = new(StringComparer.Ordinal)
    {
        ["client-transport-security/client-cert-auth"] = "client-cert-auth",
        ["peer-transport-security/client-cert-auth"] = "peer-client-cert-auth",
        ["peer-transport-security/cert-file"] = "peer-cert-file",
        ["peer-transport-security/key-file"] = "peer-key-file",
        ["peer-transport-security/trusted-ca-file"] = "peer-trusted-ca-file",
        ["peer-transport-security/auto-tls"] = "peer-auto-tls",
        ["peer-transport-security/client-cert-file"] = "peer-client-cert-file",
        ["peer-transport-security/client-key-file"] = "peer-client-key-file",
        ["peer-transport-security/allowed-cn"] = "peer-cert-allowed-cn",
        ["peer-transport-security/allowed-hostname"] = "peer-cert-allowed-hostname",
        ["peer-transport-security/crl-file"] = "peer-crl-file",
        ["client-transport-security/crl-file"] = "client-crl-file",
        ["client-transport-security/allowed-hostname"] = "client-cert-allowed-hostname",
    };

    /// <exception cref="FlagException">The file cannot be read, or a setting is wrong.</exception>
    public static void Read(string path, FlagSet flags)
    {
        try
        {
            if (new FileInfo(path).Length > BytesMax)
            {
                throw new FlagException($"error loading the configuration file {path}: it is too large");
            }

            using StreamReader text = new(path);
            YamlStream yaml = [];
            yaml.Load(text);
            if (yaml.Documents.Count > 0 && yaml.Documents[0].RootNode is YamlMappingNode root)
            {
                HashSet<string> known = [.. flags.Names];
                Take(root, "", flags, known);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or YamlException)
        {
            throw new FlagException($"error loading the configuration file {path}: {e.Message}");
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            // The library's for some text that is no YAML; its words say nothing of that.
            throw new FlagException($"error loading the configuration file {path}: it is not valid YAML");
        }
    }

    private static void Take(YamlMappingNode mapping, string section, FlagSet flags, HashSet<string> known)
    {
        foreach ((YamlNode key, YamlNode value) in mapping.Children)
        {
            string name = (key as YamlScalarNode)?.Value ?? throw new FlagException("the configuration file has a setting whose name is no text");
            if (value is YamlMappingNode inner && section.Length == 0 && name is "client-transport-security" or "peer-transport-security")
            {
                Take((YamlMappingNode)value, name + "/", flags, known);
                continue;
            }

            string flag = Renamed.GetValueOrDefault(section + name, name);
            if (!known.Contains(flag) || flag == "config-file")
            {
                // etcd: unknown fields of the file are an error only in strict mode, which it does not use. A typo should not be silent.
                throw new FlagException($"the configuration file has the unknown setting \"{section}{name}\"");
            }

            string text = value switch
            {
                YamlSequenceNode list => string.Join(',', list.Children.OfType<YamlScalarNode>().Select(static n => n.Value)),
                YamlScalarNode scalar => scalar.Value ?? "",
                _ => throw new FlagException($"the setting \"{section}{name}\" is no value"),
            };
            flags.SetFromText(flag, flags.IsDuration(flag) && long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long nanoseconds)
                ? GoDuration.Format(TimeSpan.FromTicks(nanoseconds / TimeSpan.NanosecondsPerTick))
                : text);
        }
    }
}
