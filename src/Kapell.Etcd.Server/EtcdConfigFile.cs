using System.Globalization;
using Kapell.Base;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Kapell.Etcd.Server;

/// <summary>
/// Settings from a YAML or JSON file, under the names of the flags; those of TLS, of sockets and of discovery stand in sections of their own.
/// Each has its type: a text is no number, and a number no text. When there is a file, flags and variables are not looked at.
/// etcd: embed/config.go ConfigFromFile
/// </summary>
internal static class EtcdConfigFile
{
    private const long BytesMax = 1 << 20;

    private static readonly HashSet<string> Sections = new(StringComparer.Ordinal)
    {
        "client-transport-security", "peer-transport-security", "socket-options",
        "discovery-config", "discovery-config/client", "discovery-config/client/secure", "discovery-config/client/auth",
    };

    private static readonly Dictionary<string, string> Renamed = new(StringComparer.Ordinal)
    {
        ["experimental-snapshot-catch-up-entries"] = "experimental-snapshot-catchup-entries",
        ["client-transport-security/client-cert-auth"] = "client-cert-auth",
        ["client-transport-security/cert-file"] = "cert-file",
        ["client-transport-security/key-file"] = "key-file",
        ["client-transport-security/client-cert-file"] = "client-cert-file",
        ["client-transport-security/client-key-file"] = "client-key-file",
        ["client-transport-security/trusted-ca-file"] = "trusted-ca-file",
        ["client-transport-security/auto-tls"] = "auto-tls",
        ["client-transport-security/crl-file"] = "client-crl-file",
        ["client-transport-security/client-crl-file"] = "client-crl-file",
        ["client-transport-security/allowed-cn"] = "client-cert-allowed-cn",
        ["client-transport-security/allowed-hostname"] = "client-cert-allowed-hostname",
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
        ["peer-transport-security/skip-client-san-verification"] = "peer-skip-client-san-verification",
        ["socket-options/reuse-port"] = "socket-reuse-port",
        ["socket-options/reuse-address"] = "socket-reuse-address",
        ["discovery-config/token"] = "discovery-token",
        ["discovery-config/client/endpoints"] = "discovery-endpoints",
        ["discovery-config/client/request-timeout"] = "discovery-request-timeout",
        ["discovery-config/client/dial-timeout"] = "discovery-dial-timeout",
        ["discovery-config/client/keepalive-time"] = "discovery-keepalive-time",
        ["discovery-config/client/keepalive-timeout"] = "discovery-keepalive-timeout",
        ["discovery-config/client/secure/cert"] = "discovery-cert",
        ["discovery-config/client/secure/key"] = "discovery-key",
        ["discovery-config/client/secure/cacert"] = "discovery-cacert",
        ["discovery-config/client/secure/insecure-transport"] = "discovery-insecure-transport",
        ["discovery-config/client/secure/insecure-skip-tls-verify"] = "discovery-insecure-skip-tls-verify",
        ["discovery-config/client/auth/username"] = "discovery-user",
        ["discovery-config/client/auth/password"] = "discovery-password",
    };

    // For clients there is nothing to skip, here and with etcd: the address that one calls from is compared with its certificate for peers alone.
    private const string WithoutEffect = "client-transport-security/skip-client-san-verification";

    // The other lists are one text with commas.
    private static readonly HashSet<string> Sequences = new(StringComparer.Ordinal)
    {
        "log-outputs", "cipher-suites", "peer-cert-allowed-cn", "peer-cert-allowed-hostname", "client-cert-allowed-cn",
        "client-cert-allowed-hostname", "discovery-endpoints",
    };

    // Durations of flags that etcd does not have may be written as on the command line.
    private static readonly HashSet<string> OwnDurations = new(StringComparer.Ordinal) { "backup-interval", "backup-retention", "auto-promote-after" };

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
            YamlNode? root = yaml.Documents.Count > 0 ? yaml.Documents[0].RootNode : null;
            if (root is YamlMappingNode settings)
            {
                HashSet<string> known = [.. flags.Names];
                Take(settings, "", flags, known);
            }
            else if (root is not null && !IsNull(root))
            {
                throw new FlagException($"error loading the configuration file {path}: it is {Described(root)}, not settings with their names");
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
            string setting = section + name;
            if (Sections.Contains(setting))
            {
                if (value is YamlMappingNode inner)
                {
                    Take(inner, setting + "/", flags, known);
                }
                else if (!IsNull(value))
                {
                    throw Wrong(setting, "a section with settings of its own", value);
                }

                continue;
            }

            if (setting == WithoutEffect)
            {
                _ = IsNull(value) ? null : TextOf(setting, setting, FlagKind.Bool, value);
                continue;
            }

            string flag = Renamed.GetValueOrDefault(setting, setting);
            if (!known.Contains(flag) || flag is "config-file" or "version")
            {
                // etcd: unknown fields of the file are an error only in strict mode, which it does not use. A typo should not be silent.
                throw new FlagException($"the configuration file has the unknown setting \"{setting}\"");
            }

            if (!IsNull(value) && TextOf(setting, flag, flags.KindOf(flag), value) is { } text)
            {
                flags.SetFromText(flag, text, $"the setting \"{setting}\"");
            }
        }
    }

    /// <summary>As on the command line; null: as if it were not there.</summary>
    private static string? TextOf(string setting, string flag, FlagKind kind, YamlNode value)
    {
        YamlScalar? scalar = value is YamlScalarNode node ? YamlScalar.Of(node) : null;
        switch (kind)
        {
            case FlagKind.Bool:
                return scalar?.Kind == YamlKind.Bool ? scalar.Value : throw Wrong(setting, "a boolean", value);
            case FlagKind.Number:
                return scalar?.Kind == YamlKind.Number ? scalar.Value : throw Wrong(setting, "a number", value);
            case FlagKind.Duration:
                return scalar?.Kind == YamlKind.Number && long.TryParse(scalar.Value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long nanoseconds)
                        ? GoDuration.Format(TimeSpan.FromTicks(nanoseconds / TimeSpan.NanosecondsPerTick))
                    : scalar?.Kind == YamlKind.Text && OwnDurations.Contains(flag) ? scalar.Value
                    : throw Wrong(setting, "a whole number of nanoseconds", value);
            case FlagKind.List when Sequences.Contains(flag):
                return value is YamlSequenceNode list ? Joined(setting, list) : throw Wrong(setting, "a list", value);
            case FlagKind.List:
                string urls = scalar?.Kind == YamlKind.Text ? scalar.Value : throw Wrong(setting, "a string", value);
                return urls.Length > 0 ? urls : null;
            case FlagKind.Choice:
                return scalar?.Kind != YamlKind.Text ? throw Wrong(setting, "a string", value) : scalar.Value.Length > 0 ? scalar.Value : null;
            default:
                return scalar?.Kind == YamlKind.Text ? scalar.Value : throw Wrong(setting, "a string", value);
        }
    }

    private static string? Joined(string setting, YamlSequenceNode list)
    {
        List<string> texts = [];
        foreach (YamlNode item in list.Children.Where(static i => !IsNull(i)))
        {
            texts.Add(item is YamlScalarNode node && YamlScalar.Of(node) is { Kind: YamlKind.Text } scalar ? scalar.Value : throw Wrong(setting, "a list of strings", item));
        }

        return texts.Count > 0 ? string.Join(',', texts) : null;
    }

    private static bool IsNull(YamlNode node) => node is YamlScalarNode scalar && YamlScalar.Of(scalar).Kind == YamlKind.Null;

    private static FlagException Wrong(string setting, string wanted, YamlNode value) => new($"the setting \"{setting}\" must be {wanted}, it is {Described(value)}");

    private static string Described(YamlNode value) => value switch
    {
        YamlSequenceNode => "a list",
        YamlScalarNode scalar => YamlScalar.Of(scalar) switch
        {
            { Kind: YamlKind.Bool } => $"the boolean {scalar.Value}",
            { Kind: YamlKind.Number } => $"the number {scalar.Value}",
            _ => $"the string \"{scalar.Value}\"",
        },
        _ => "a section",
    };
}
