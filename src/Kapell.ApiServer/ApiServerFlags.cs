using Kapell.ApiServer.Http;
using Kapell.Base;

namespace Kapell.ApiServer;

/// <summary>The command line. Flags that change nothing here but that harnesses pass are accepted and listed as such.</summary>
internal sealed class ApiServerFlags
{
    private static readonly string[] Modes = ["AlwaysAllow", "AlwaysDeny", "RBAC", "Node"];
    private readonly Func<ServerOptions> _read;

    public ApiServerFlags()
    {
        FlagSet set = new("kube-apiserver", "Serves the Kubernetes API, keeping everything in an etcd v3 store.");
        Set = set;
        set.Examples.Add("kube-apiserver --etcd-servers=http://127.0.0.1:2379 --cert-dir=/tmp/kapell --client-ca-file=ca.crt --service-cluster-ip-range=10.0.0.0/24");
        set.Group("Store");
        FlagValue<IReadOnlyList<string>> servers = set.List("etcd-servers", [], "URLs of the etcd servers (http://host:port), comma-separated.");
        FlagValue<string> etcdCa = set.String("etcd-cafile", "", "Authority that signed the etcd servers' certificates.");
        FlagValue<string> etcdCert = set.String("etcd-certfile", "", "Client certificate for etcd.");
        FlagValue<string> etcdKey = set.String("etcd-keyfile", "", "Key of that certificate.");
        FlagValue<string> prefix = set.String("etcd-prefix", "/registry", "Prefix of all keys.");
        FlagValue<TimeSpan> compaction = set.Duration("etcd-compaction-interval", TimeSpan.FromMinutes(5), "How often old revisions are forgotten; 0 never.");
        FlagValue<TimeSpan> eventTtl = set.Duration("event-ttl", TimeSpan.FromHours(1), "How long events are kept.");
        set.Group("Serving");
        FlagValue<int> port = set.Int("secure-port", 6443, "HTTPS port.");
        FlagValue<string> bind = set.String("bind-address", "0.0.0.0", "Address to listen on.");
        FlagValue<string> advertise = set.String("advertise-address", "", "Address the cluster reaches this server under.");
        FlagValue<string> cert = set.String("tls-cert-file", "", "Serving certificate, PEM.");
        FlagValue<string> key = set.String("tls-private-key-file", "", "Its key, PEM.");
        FlagValue<string> certDir = set.String("cert-dir", "/var/run/kubernetes", "Where a self-signed certificate is kept when none is given.");
        FlagValue<int> inflight = set.Int("max-requests-inflight", 400, "Reads at a time; 0 is no limit.");
        FlagValue<int> mutating = set.Int("max-mutating-requests-inflight", 200, "Writes at a time; 0 is no limit.");
        FlagValue<TimeSpan> timeout = set.Duration("request-timeout", TimeSpan.FromSeconds(60), "Longest time for a request that is no stream.");
        FlagValue<int> minTimeout = set.Int("min-request-timeout", 1800, "Seconds a watch is kept open at least.");
        set.Group("Authentication");
        FlagValue<string> clientCa = set.String("client-ca-file", "", "Authorities of client certificates.");
        FlagValue<bool> anonymous = set.Bool("anonymous-auth", true, "Requests without credentials are those of system:anonymous.");
        FlagValue<bool> bootstrap = set.Bool("enable-bootstrap-token-auth", false, "Secrets of type bootstrap.kubernetes.io/token are credentials.");
        FlagValue<string> tokens = set.String("token-auth-file", "", "Static tokens, CSV.");
        FlagValue<IReadOnlyList<string>> issuers = set.List("service-account-issuer", [], "Issuer of service account tokens; the first signs.");
        FlagValue<IReadOnlyList<string>> keyFiles = set.List("service-account-key-file", [], "Keys service account tokens are verified with.");
        FlagValue<string> signing = set.String("service-account-signing-key-file", "", "Key service account tokens are signed with.");
        FlagValue<TimeSpan> maxToken = set.Duration("service-account-max-token-expiration", TimeSpan.Zero, "Longest life of such a token.");
        FlagValue<IReadOnlyList<string>> audiences = set.List("api-audiences", [], "Audiences of this server; the issuer by default.");
        FlagValue<string> rhCa = set.String("requestheader-client-ca-file", "", "Authority of front proxies.");
        FlagValue<IReadOnlyList<string>> rhNames = set.List("requestheader-allowed-names", [], "Common names of front proxies; empty is any.");
        FlagValue<IReadOnlyList<string>> rhUsers = set.List("requestheader-username-headers", [], "Headers with the user name.");
        FlagValue<IReadOnlyList<string>> rhGroups = set.List("requestheader-group-headers", [], "Headers with groups.");
        FlagValue<IReadOnlyList<string>> rhExtra = set.List("requestheader-extra-headers-prefix", [], "Prefixes of headers with extra.");
        set.Group("Authorization and admission");
        FlagValue<IReadOnlyList<string>> modes = set.List("authorization-mode", ["AlwaysAllow"], "In order: AlwaysAllow, AlwaysDeny, RBAC, Node.");
        FlagValue<IReadOnlyList<string>> enable = set.List("enable-admission-plugins", [], "Plugins beside the default ones.");
        FlagValue<IReadOnlyList<string>> disable = set.List("disable-admission-plugins", [], "Default plugins to leave out.");
        set.Group("Cluster");
        FlagValue<string> range = set.String("service-cluster-ip-range", "10.0.0.0/24", "Range of service addresses.");
        FlagValue<string> nodePorts = set.String("service-node-port-range", "30000-32767", "Range of node ports.");
        FlagValue<string> kubeletCert = set.String("kubelet-client-certificate", "", "Client certificate for kubelets.");
        FlagValue<string> kubeletKey = set.String("kubelet-client-key", "", "Its key.");
        FlagValue<string> kubeletCa = set.String("kubelet-certificate-authority", "", "Authority of the kubelets' serving certificates.");
        FlagValue<IReadOnlyList<string>> addresses = set.List("kubelet-preferred-address-types",
            ["Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"], "Which node address is used first.");
        AcceptOnly(set);
        _read = () => new ServerOptions
        {
            EtcdServers = servers.Value, EtcdCaFile = etcdCa.Value, EtcdCertFile = etcdCert.Value, EtcdKeyFile = etcdKey.Value,
            EtcdPrefix = prefix.Value, EtcdCompactionInterval = compaction.Value, EventTtl = eventTtl.Value, SecurePort = port.Value,
            BindAddress = bind.Value, AdvertiseAddress = advertise.Value, TlsCertFile = cert.Value, TlsPrivateKeyFile = key.Value, CertDir = certDir.Value,
            MaxRequestsInflight = inflight.Value, MaxMutatingRequestsInflight = mutating.Value, RequestTimeout = timeout.Value,
            MinRequestTimeout = TimeSpan.FromSeconds(minTimeout.Value), ClientCaFile = clientCa.Value, AnonymousAuth = anonymous.Value,
            EnableBootstrapTokenAuth = bootstrap.Value, TokenAuthFile = tokens.Value, ServiceAccountIssuers = issuers.Value,
            ServiceAccountKeyFiles = keyFiles.Value, ServiceAccountSigningKeyFile = signing.Value, ServiceAccountMaxTokenExpiration = maxToken.Value,
            ApiAudiences = audiences.Value, RequestHeaderClientCaFile = rhCa.Value, RequestHeaderAllowedNames = rhNames.Value,
            RequestHeaderUsernameHeaders = rhUsers.Value, RequestHeaderGroupHeaders = rhGroups.Value, RequestHeaderExtraHeadersPrefix = rhExtra.Value,
            AuthorizationModes = modes.Value, EnableAdmissionPlugins = enable.Value, DisableAdmissionPlugins = disable.Value,
            ServiceClusterIpRange = range.Value, ServiceNodePortRange = nodePorts.Value, KubeletClientCertificate = kubeletCert.Value,
            KubeletClientKey = kubeletKey.Value, KubeletCertificateAuthority = kubeletCa.Value, KubeletPreferredAddressTypes = addresses.Value,
        };
    }

    public FlagSet Set { get; }

    /// <exception cref="FlagException">A value that cannot be.</exception>
    public ServerOptions ToOptions()
    {
        ServerOptions options = _read();
        if (Set.Arguments.Count > 0)
        {
            throw new FlagException($"unknown argument: {Set.Arguments[0]}");
        }

        if (options.EtcdServers.Count == 0)
        {
            throw new FlagException("--etcd-servers must be specified");
        }

        foreach (string mode in options.AuthorizationModes)
        {
            if (!Modes.Contains(mode))
            {
                throw new FlagException($"unknown authorization mode: {mode}");
            }
        }

        return options.SecurePort is < 1 or > 65535
            ? throw new FlagException($"--secure-port {options.SecurePort} must be between 1 and 65535, inclusive. It cannot be turned off with 0")
            : options;
    }

    /// <summary>Upstream's flags that test harnesses and installers pass and that have no meaning for this server.</summary>
    private static void AcceptOnly(FlagSet set)
    {
        set.Group("Accepted for compatibility, without effect");
        set.Int("v", 0, "Log verbosity.");
        set.String("vmodule", "", "Log verbosity per file.");
        set.String("logging-format", "text", "Log format.");
        set.Bool("allow-privileged", true, "Privileged containers are always allowed.");
        set.Bool("profiling", false, "Profiling.");
        set.Bool("enable-aggregator-routing", false, "Routing of aggregated APIs.");
        set.List("feature-gates", [], "Feature gates.");
        set.List("runtime-config", [], "API versions to switch on or off.");
        set.String("storage-backend", "etcd3", "The only one.");
        set.String("storage-media-type", "application/json", "The only one.");
        set.Bool("watch-cache", true, "Always on.");
        set.List("watch-cache-sizes", [], "Sizes follow the load.");
        set.Bool("enable-garbage-collector", true, "Always on.");
        set.Bool("enable-priority-and-fairness", true, "In-flight limits hold instead.");
        set.String("endpoint-reconciler-type", "lease", "Endpoints of the kubernetes service.");
        set.String("proxy-client-cert-file", "", "For aggregated APIs.");
        set.String("proxy-client-key-file", "", "For aggregated APIs.");
        set.List("tls-cipher-suites", [], "The platform's are used.");
        set.String("tls-min-version", "", "TLS 1.2 is the least.");
        set.String("external-hostname", "", "Host name for links.");
        set.Duration("shutdown-delay-duration", TimeSpan.Zero, "Wait before shutting down.");
        set.Int("default-watch-cache-size", 100, "Sizes follow the load.");
        set.Int("goaway-chance", 0, "Spreading of connections.");
        set.Int("delete-collection-workers", 1, "Parallel deletes.");
    }
}
