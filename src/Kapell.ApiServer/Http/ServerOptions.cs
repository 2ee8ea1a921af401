namespace Kapell.ApiServer.Http;

/// <summary>The command line of the server, parsed (upstream's flag names in kebab case).</summary>
public sealed record ServerOptions
{
    public required IReadOnlyList<string> EtcdServers { get; init; }

    public string EtcdCaFile { get; init; } = "";

    public string EtcdCertFile { get; init; } = "";

    public string EtcdKeyFile { get; init; } = "";

    public string EtcdPrefix { get; init; } = "/registry";

    public TimeSpan EtcdCompactionInterval { get; init; } = TimeSpan.FromMinutes(5);

    public string BindAddress { get; init; } = "0.0.0.0";

    public int SecurePort { get; init; } = 6443;

    public string AdvertiseAddress { get; init; } = "";

    public string TlsCertFile { get; init; } = "";

    public string TlsPrivateKeyFile { get; init; } = "";

    public string CertDir { get; init; } = "";

    public string ClientCaFile { get; init; } = "";

    /// <summary>One or two CIDRs, comma-separated.</summary>
    public string ServiceClusterIpRange { get; init; } = "10.0.0.0/24";

    public string ServiceNodePortRange { get; init; } = "30000-32767";

    public IReadOnlyList<string> ServiceAccountIssuers { get; init; } = [];

    public IReadOnlyList<string> ServiceAccountKeyFiles { get; init; } = [];

    public string ServiceAccountSigningKeyFile { get; init; } = "";

    public TimeSpan ServiceAccountMaxTokenExpiration { get; init; }

    public IReadOnlyList<string> ApiAudiences { get; init; } = [];

    public IReadOnlyList<string> AuthorizationModes { get; init; } = ["AlwaysAllow"];

    public bool AnonymousAuth { get; init; } = true;

    public bool EnableBootstrapTokenAuth { get; init; }

    public string TokenAuthFile { get; init; } = "";

    public string KubeletClientCertificate { get; init; } = "";

    public string KubeletClientKey { get; init; } = "";

    public string KubeletCertificateAuthority { get; init; } = "";

    public IReadOnlyList<string> KubeletPreferredAddressTypes { get; init; } = ["Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"];

    public TimeSpan EventTtl { get; init; } = TimeSpan.FromHours(1);

    public int MaxRequestsInflight { get; init; } = 400;

    public int MaxMutatingRequestsInflight { get; init; } = 200;

    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(60);

    public TimeSpan MinRequestTimeout { get; init; } = TimeSpan.FromSeconds(1800);

    public string RequestHeaderClientCaFile { get; init; } = "";

    public IReadOnlyList<string> RequestHeaderAllowedNames { get; init; } = [];

    public IReadOnlyList<string> RequestHeaderUsernameHeaders { get; init; } = [];

    public IReadOnlyList<string> RequestHeaderGroupHeaders { get; init; } = [];

    public IReadOnlyList<string> RequestHeaderExtraHeadersPrefix { get; init; } = [];

    public IReadOnlyList<string> EnableAdmissionPlugins { get; init; } = [];

    public IReadOnlyList<string> DisableAdmissionPlugins { get; init; } = [];
}
