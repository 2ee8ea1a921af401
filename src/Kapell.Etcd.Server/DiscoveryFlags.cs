using Kapell.Base;
using Kapell.Etcd.Server.Discovery;
using Kapell.Etcd.Server.Proxies;

namespace Kapell.Etcd.Server;

/// <summary>The flags by which founders find each other. etcd: etcdmain/config.go</summary>
internal sealed class DiscoveryFlags
{
    private readonly FlagValue<string> _domain;
    private readonly FlagValue<string> _service;
    private readonly FlagValue<IReadOnlyList<string>> _endpoints;
    private readonly FlagValue<string> _token;
    private readonly FlagValue<string> _cert;
    private readonly FlagValue<string> _key;
    private readonly FlagValue<string> _ca;
    private readonly FlagValue<bool> _plain;
    private readonly FlagValue<bool> _skipVerify;
    private readonly FlagValue<string> _user;
    private readonly FlagValue<string> _password;
    private readonly FlagValue<TimeSpan> _timeout;

    public DiscoveryFlags(FlagSet flags)
    {
        _domain = flags.String("discovery-srv", "", "DNS srv domain used to bootstrap the cluster.");
        _service = flags.String("discovery-srv-name", "", "Suffix to the dns srv name queried when bootstrapping.");
        _endpoints = flags.List("discovery-endpoints", [], "V3 discovery: List of gRPC endpoints of the discovery service.");
        _token = flags.String("discovery-token", "", "V3 discovery: discovery token for the etcd cluster to be bootstrapped.");
        _timeout = flags.Duration("discovery-request-timeout", TimeSpan.FromSeconds(5), "V3 discovery: timeout for discovery requests (excluding dial timeout).");
        _plain = flags.Bool("discovery-insecure-transport", true, "V3 discovery: disable transport security for client connections.");
        _skipVerify = flags.Bool("discovery-insecure-skip-tls-verify", false, "V3 discovery: skip server certificate verification (CAUTION: this option should be enabled only for testing purposes).");
        _cert = flags.String("discovery-cert", "", "V3 discovery: identify secure client using this TLS certificate file.");
        _key = flags.String("discovery-key", "", "V3 discovery: identify secure client using this TLS key file.");
        _ca = flags.String("discovery-cacert", "", "V3 discovery: verify certificates of TLS-enabled secure servers using this CA bundle.");
        _user = flags.String("discovery-user", "", "V3 discovery: username[:password] for authentication (prompt if password is not supplied).");
        _password = flags.String("discovery-password", "", "V3 discovery: password for authentication (if this option is used, --user option shouldn't include password).");
    }

    public string Domain => _domain.Value;

    public string ServiceName => _service.Value;

    /// <summary>Whether the founders are to be found somewhere.</summary>
    /// <param name="named">They are named, too.</param>
    /// <exception cref="FlagException">There are two ways to them.</exception>
    public bool IsWanted(bool named)
    {
        bool service = _endpoints.Value.Count > 0 || _token.Value.Length > 0;
        if ((service ? 1 : 0) + (_domain.Value.Length > 0 ? 1 : 0) + (named ? 1 : 0) > 1)
        {
            throw new FlagException("multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\", \"discovery-endpoints\" or \"discovery-srv\"");
        }

        if (service && (_endpoints.Value.Count == 0 || _token.Value.Length == 0))
        {
            throw new FlagException("both --discovery-endpoints and --discovery-token must be set");
        }

        return service || _domain.Value.Length > 0;
    }

    public DiscoverySettings? Service()
    {
        string[] user = _user.Value.Split(':', 2);
        return _endpoints.Value.Count == 0 ? null : new DiscoverySettings
        {
            Endpoints = _endpoints.Value,
            Token = _token.Value,
            Tls = new UpstreamTls(_cert.Value, _key.Value, _ca.Value, _skipVerify.Value),
            Plain = _plain.Value && _cert.Value.Length == 0 && _ca.Value.Length == 0,
            User = user[0],
            Password = user.Length > 1 ? user[1] : _password.Value,
            RequestTimeout = _timeout.Value > TimeSpan.Zero ? _timeout.Value : throw new FlagException("--discovery-request-timeout must be more than zero"),
        };
    }
}
