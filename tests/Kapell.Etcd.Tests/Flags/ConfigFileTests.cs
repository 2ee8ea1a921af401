using Kapell.Base;
using Kapell.Etcd.Server;
using Kapell.Etcd.Server.Discovery;
using Kapell.Etcd.Server.Proxies;
using Xunit;

namespace Kapell.Etcd.Tests.Flags;

/// <summary>The configuration file as etcd 3.6 reads it: YAML as JSON, with types.</summary>
public sealed class ConfigFileTests
{
    [Theory]
    [InlineData("name:")]
    [InlineData("name: null")]
    [InlineData("name: ~")]
    [InlineData("log-outputs: [null]")]
    [InlineData("listen-client-urls: \"\"")]
    [InlineData("pre-vote:")]
    [InlineData("client-transport-security:")]
    [InlineData("discovery-config: ~")]
    [InlineData("initial-cluster-state: \"\"")]
    [InlineData("")]
    public void Nothing_is_the_default(string yaml)
    {
        EtcdOptions options = Options(yaml);
        Assert.Equal(("default", true), (options.Name, options.PreVote));
        Assert.Equal(["http://localhost:2379"], options.ListenClientUrls);
    }

    [Theory]
    [InlineData("yes", true)]
    [InlineData("On", true)]
    [InlineData("y", true)]
    [InlineData("TRUE", true)]
    [InlineData("no", false)]
    [InlineData("off", false)]
    [InlineData("N", false)]
    [InlineData("!!bool off", false)]
    public void Booleans_are_those_of_old_YAML(string text, bool value) => Assert.Equal(value, Options($"pre-vote: {text}").PreVote);

    [Theory]
    [InlineData("1e9", 1_000_000_000)]
    [InlineData("0x10000000", 0x10000000)]
    [InlineData("8_589_934_592", 8_589_934_592)]
    [InlineData("010000", 4096)]
    [InlineData("0o10000", 4096)]
    [InlineData("+9000", 9000)]
    [InlineData("9000.0", 9000)]
    [InlineData("1.5e9", 1_500_000_000)]
    [InlineData("!!int \"9000\"", 9000)]
    public void Numbers_are_too(string text, long value) => Assert.Equal(value, Options($"quota-backend-bytes: {text}").Limits.QuotaBytes);

    [Theory]
    [InlineData("snapshot-count: \"1000\"", "the setting \"snapshot-count\" must be a number, it is the string \"1000\"")]
    [InlineData("snapshot-count: -1", "invalid value \"-1\" for the setting \"snapshot-count\": parse error")]
    [InlineData("max-request-bytes: -1", "invalid value \"-1\" for the setting \"max-request-bytes\": parse error")]
    [InlineData("heartbeat-interval: 9000.5", "invalid value \"9000.5\" for the setting \"heartbeat-interval\": parse error")]
    [InlineData("heartbeat-interval: 1e30", "for the setting \"heartbeat-interval\": parse error")]
    [InlineData("heartbeat-interval: 1:30:30", "the setting \"heartbeat-interval\" must be a number")]
    [InlineData("pre-vote: 1", "the setting \"pre-vote\" must be a boolean, it is the number 1")]
    [InlineData("pre-vote: \"yes\"", "the setting \"pre-vote\" must be a boolean, it is the string \"yes\"")]
    [InlineData("initial-cluster-token: 5", "the setting \"initial-cluster-token\" must be a string, it is the number 5")]
    [InlineData("name: yes", "the setting \"name\" must be a string, it is the boolean yes")]
    [InlineData("log-outputs: stderr", "the setting \"log-outputs\" must be a list, it is the string \"stderr\"")]
    [InlineData("log-outputs: [5]", "the setting \"log-outputs\" must be a list of strings, it is the number 5")]
    [InlineData("listen-metrics-urls: [\"http://127.0.0.1:1\"]", "the setting \"listen-metrics-urls\" must be a string, it is a list")]
    [InlineData("auto-compaction-retention: 5", "the setting \"auto-compaction-retention\" must be a string, it is the number 5")]
    [InlineData("corrupt-check-time: 5s", "the setting \"corrupt-check-time\" must be a whole number of nanoseconds, it is the string \"5s\"")]
    [InlineData("peer-transport-security: 5", "the setting \"peer-transport-security\" must be a section with settings of its own, it is the number 5")]
    [InlineData("client-transport-security: {cert-file: 5}", "the setting \"client-transport-security/cert-file\" must be a string, it is the number 5")]
    [InlineData("client-transport-security: {name: x}", "the configuration file has the unknown setting \"client-transport-security/name\"")]
    [InlineData("discovery-config: {client: {endpoints: a}}", "the setting \"discovery-config/client/endpoints\" must be a list")]
    [InlineData("discovery-config: {token: a}", "both --discovery-endpoints and --discovery-token must be set")]
    [InlineData("discovery-srv: a\ninitial-cluster: default=http://localhost:2380", "multiple discovery or bootstrap flags are set")]
    [InlineData("[a]", "it is a list, not settings with their names")]
    [InlineData("experimental-initial-corrupt-check: true\nfeature-gates: InitialCorruptCheck=true", "cannot specify both flags: --experimental-initial-corrupt-check")]
    [InlineData("experimental-corrupt-check-time: 1\ncorrupt-check-time: 1", "please use --corrupt-check-time only")]
    [InlineData("corrupt-check-time: -5000000000", "--corrupt-check-time must not be negative (set to -5s)")]
    public void What_has_another_type_or_contradicts_is_refused_by_name(string yaml, string says) =>
        Assert.Contains(says, Assert.Throws<FlagException>(() => Options(yaml)).Message, StringComparison.Ordinal);

    [Fact]
    public void Founders_may_be_found_by_a_section_of_its_own()
    {
        EtcdOptions options = Options("""
            discovery-config:
              token: t1
              client:
                endpoints: [http://a:1, "http://b:2"]
                request-timeout: 7000000000
                secure:
                  cert: c.pem
                  key: k.pem
                  cacert: ca.pem
                  insecure-transport: no
                  insecure-skip-tls-verify: yes
                auth:
                  username: root
                  password: secret
            """);
        DiscoverySettings settings = Assert.IsType<DiscoverySettings>(options.Discovery);
        Assert.Equal(["http://a:1", "http://b:2"], settings.Endpoints);
        Assert.Equal(("t1", false, "root", "secret", TimeSpan.FromSeconds(7)), (settings.Token, settings.Plain, settings.User, settings.Password, settings.RequestTimeout));
        Assert.Equal(new UpstreamTls("c.pem", "k.pem", "ca.pem", true), settings.Tls);
        Assert.Empty(options.InitialCluster);
    }

    [Fact]
    public void Sections_and_lists_are_read()
    {
        EtcdOptions options = Options("""
            socket-options: {reuse-port: true}
            peer-transport-security: {skip-client-san-verification: true, allowed-cn: [a, b]}
            client-transport-security: {allowed-cn: [c], skip-client-san-verification: true}
            initial-cluster-state: ""
            experimental-snapshot-catch-up-entries: 7
            self-signed-cert-validity: 0
            tls-min-version: ""
            metrics: ""
            log-format: ""
            log-level: WARN
            backup-interval: 2h
            quota-backend-bytes: -1
            """);
        Assert.True(options.ReusesPorts);
        Assert.False(options.PeerTls.ChecksCallerAddress);
        Assert.Equal(["a", "b"], options.PeerTls.AllowedCommonNames);
        Assert.Equal(["c"], options.Tls?.AllowedCommonNames);
        Assert.Equal((7, 1, 0L), (options.Retention.Entries, options.SelfSignedYears, options.Limits.QuotaBytes));
    }

    private static EtcdOptions Options(string yaml)
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, yaml + "\n");
            EtcdFlags flags = new();
            flags.Parse(["--config-file", path], static _ => null);
            flags.Logs();
            return flags.ToOptions();
        }
        finally
        {
            File.Delete(path);
        }
    }
}
