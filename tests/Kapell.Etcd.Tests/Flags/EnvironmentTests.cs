using Kapell.Base;
using Kapell.Etcd.Server;
using Xunit;

namespace Kapell.Etcd.Tests.Flags;

/// <summary>ETCD_* as etcd 3.6 takes them. etcd: pkg/flags/flag.go</summary>
public sealed class EnvironmentTests
{
    [Fact]
    public void A_variable_sets_its_flag()
    {
        EtcdOptions options = Options("", "ETCD_NAME=n1", "ETCD_MAX_TXN_OPS=0x10", "ETCD_MAX_SNAPSHOTS=3");
        Assert.Equal(("n1", 16), (options.Name, options.Limits.TxnOperationsMax));
        Assert.StartsWith("--max-snapshots is deprecated", Assert.Single(options.Notices), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--name=n2", "ETCD_NAME=n1")]
    [InlineData("--name=n1", "ETCD_NAME=")]
    [InlineData("--experimental-max-learners=2", "ETCD_EXPERIMENTAL_MAX_LEARNERS=2")]
    public void One_whose_flag_is_on_the_command_line_too_is_refused(string line, string variable) => Assert.Equal(
        "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag)): "
            + variable.Split('=')[0],
        Assert.Throws<FlagException>(() => Options(line, variable)).Message);

    [Theory]
    [InlineData("ETCD_MAX_TXN_OPS=-1", "invalid value \"-1\" for ETCD_MAX_TXN_OPS: parse error")]
    [InlineData("ETCD_MAX_CONCURRENT_STREAMS=x", "invalid value \"x\" for ETCD_MAX_CONCURRENT_STREAMS: strconv.ParseUint: parsing \"x\": invalid syntax")]
    [InlineData("ETCD_PRE_VOTE=maybe", "invalid value \"maybe\" for ETCD_PRE_VOTE: ")]
    public void A_wrong_value_is_told_with_the_variable(string variable, string says) =>
        Assert.StartsWith(says, Assert.Throws<FlagException>(() => Options("", variable)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("ETCD_FOO=1", "unrecognized environment variable ETCD_FOO")]
    [InlineData("ETCD_NAME=", "unrecognized environment variable ETCD_NAME")]
    [InlineData("ETCD_VERSION=3.6.14", "cannot set special environment variable ETCD_VERSION")]
    public void One_that_is_no_flag_is_named_in_the_log(string variable, string says) => Assert.Equal(says, Assert.Single(Options("", variable).Notices));

    [Fact]
    public void Those_of_others_are_not() => Assert.Empty(Options("", "ETCDCTL_API=3", "ETCD_UNSUPPORTED_ARCH=riscv64", "ETCDX=1").Notices);

    [Fact]
    public void Beside_other_components_the_flag_counts_in_silence()
    {
        EtcdFlags flags = new();
        flags.Parse(["--name=n2"], static name => name == "ETCD_NAME" ? "n1" : null);
        Assert.Equal("n2", flags.ToOptions().Name);
    }

    [Fact]
    public void With_a_file_variables_count_for_nothing()
    {
        string path = Path.GetTempFileName();
        File.WriteAllText(path, "name: n1\n");
        EtcdOptions options = Options("--name=n3", "ETCD_NAME=n2", "ETCD_FOO=1", $"ETCD_CONFIG_FILE={path}");
        Assert.Equal("n1", options.Name);
        Assert.Empty(options.Notices);
        File.Delete(path);
    }

    private static EtcdOptions Options(string line, params string[] variables)
    {
        Dictionary<string, string> all = variables.Select(static v => v.Split('=', 2)).ToDictionary(static v => v[0], static v => v[1]);
        EtcdFlags flags = new();
        flags.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries), all.GetValueOrDefault, all.Keys);
        return flags.ToOptions();
    }
}
