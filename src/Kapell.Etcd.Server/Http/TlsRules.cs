using System.Net.Security;
using System.Security.Authentication;
using Kapell.Base;

namespace Kapell.Etcd.Server.Http;

/// <summary>Versions of TLS and its ciphers. etcd: client/pkg/tlsutil</summary>
internal sealed record TlsRules(SslProtocols Protocols, IReadOnlyList<TlsCipherSuite> Suites)
{
    public static readonly TlsRules Usual = new(SslProtocols.Tls12 | SslProtocols.Tls13, []);

    /// <exception cref="FlagException">A name is unknown, or they contradict each other.</exception>
    public static TlsRules Parse(string min, string max, IReadOnlyList<string> suites)
    {
        SslProtocols least = VersionOf(min);
        SslProtocols most = VersionOf(max);
        if (least == SslProtocols.Tls13 && most == SslProtocols.Tls12)
        {
            throw new FlagException($"min version ({min}) is greater than max version ({max})");
        }

        if (least == SslProtocols.Tls13 && suites.Count > 0)
        {
            throw new FlagException("cipher suites cannot be configured when only TLS1.3 is enabled");
        }

        SslProtocols protocols = least == SslProtocols.Tls13 ? SslProtocols.Tls13
            : most == SslProtocols.Tls12 ? SslProtocols.Tls12
            : Usual.Protocols;
        return new TlsRules(protocols, [.. suites.Select(SuiteOf)]);
    }

    public CipherSuitesPolicy? Policy() => Suites.Count == 0 || !(OperatingSystem.IsLinux() || OperatingSystem.IsMacOS()) ? null : new CipherSuitesPolicy(
        [.. Suites, TlsCipherSuite.TLS_AES_128_GCM_SHA256, TlsCipherSuite.TLS_AES_256_GCM_SHA384, TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256]);

    private static SslProtocols VersionOf(string name) => name switch
    {
        "" => SslProtocols.None,
        "TLS1.2" => SslProtocols.Tls12,
        "TLS1.3" => SslProtocols.Tls13,
        _ => throw new FlagException($"unexpected TLS version \"{name}\""),
    };

    private static TlsCipherSuite SuiteOf(string name)
    {
        // Two older names of Go.
        string full = name.EndsWith("_CHACHA20_POLY1305", StringComparison.Ordinal) ? name + "_SHA256" : name;
        return Enum.TryParse(full, out TlsCipherSuite suite) && Enum.IsDefined(suite) && !char.IsDigit(name[0])
            ? suite
            : throw new FlagException($"unexpected TLS cipher suite \"{name}\"");
    }
}
