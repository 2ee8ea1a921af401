using Kapell.Etcd.Server;
using Xunit;

namespace Kapell.Etcd.Tests.Flags;

/// <summary>A command line that cannot be read ends with 2, settings that cannot be with 1. etcd: flag.ExitOnError, etcdmain/etcd.go startEtcdOrProxyV2</summary>
public sealed class ExitCodeTests
{
    [Theory]
    [InlineData("--bogus", 2, "etcd: flag provided but not defined: -bogus (see etcd --help)")]
    [InlineData("--snapshot-count=x", 2, "etcd: invalid value \"x\" for flag -snapshot-count: ")]
    [InlineData("--strict-reconfig-check=x", 2, "etcd: invalid boolean value \"x\" for -strict-reconfig-check: parse error")]
    [InlineData("--watch-progress-notify-interval=x", 2, "etcd: invalid value \"x\" for flag -watch-progress-notify-interval: parse error")]
    [InlineData("--initial-cluster-state=x", 2, "etcd: invalid value \"x\" for flag -initial-cluster-state: invalid value")]
    [InlineData("--v2-deprecation=", 2, "etcd: invalid value \"\" for flag -v2-deprecation: invalid value \"\"")]
    [InlineData("--discovery-fallback=x", 2, "etcd: invalid value \"x\" for flag -discovery-fallback: invalid value")]
    [InlineData("--proxy=x", 2, "etcd: invalid value \"x\" for flag -proxy: invalid value")]
    [InlineData("--listen-client-urls=http://127.0.0.1:1,x", 2, "etcd: invalid value \"http://127.0.0.1:1,x\" for flag -listen-client-urls: URL scheme must be http, https, unix, or unixs: x")]
    [InlineData("--cors=x", 2, "etcd: invalid value \"x\" for flag -cors: URL scheme must be http, https, unix, or unixs: x")]
    [InlineData("--config-file=/nowhere", 1, "etcd: error verifying flags, error loading the configuration file /nowhere: Could not find file '/nowhere'. See 'etcd --help'.")]
    [InlineData("extra", 1, "etcd: error verifying flags, 'extra' is not a valid flag.")]
    [InlineData("--config-file=/nowhere/etcd.yml", 1, "etcd: error verifying flags, error loading the configuration file /nowhere/etcd.yml: ")]
    [InlineData("--auto-compaction-mode=x", 1, "etcd: error verifying flags, ")]
    [InlineData("--version", 0, "")]
    public async Task It_says_by_its_code_what_was_wrong(string flag, int code, string words)
    {
        using StringWriter output = new();
        using StringWriter errors = new();
        Assert.Equal(code, await EtcdCommand.RunAloneAsync([flag], TimeProvider.System, 1, output, errors, TestContext.Current.CancellationToken));
        Assert.StartsWith(words, errors.ToString(), StringComparison.Ordinal);
    }
}
