using Kapell.Etcd.Server.Snapshots;
using Xunit;

namespace Kapell.Etcd.Tests.Flags;

public sealed class EtcdutlTests
{
    [Theory]
    [InlineData("--write-out json version")]
    [InlineData("-w=table version")]
    [InlineData("version")]
    public async Task The_common_flag_may_stand_before_the_command(string line)
    {
        using StringWriter output = new();
        Assert.Equal(0, await new EtcdutlCommand(output, TextWriter.Null).RunAsync(line.Split(' ')));
        Assert.Contains("etcdutl version: 3.", output.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("bash", "complete -o filenames -F _etcdutl etcdutl", 0)]
    [InlineData("zsh", "#compdef etcdutl", 0)]
    [InlineData("fish", "complete -c etcdutl", 0)]
    [InlineData("powershell", "-CommandName etcdutl", 0)]
    [InlineData("tcsh", "one of bash, zsh, fish, powershell", 128)]
    public async Task Shells_complete_its_words(string shell, string says, int code)
    {
        using StringWriter said = new();
        Assert.Equal(code, await new EtcdutlCommand(said, said).RunAsync(["completion", shell]));
        Assert.Contains(says, said.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("check --data-dir rs/a", "Error: unknown command \"check\" for \"etcdutl\"\nRun 'etcdutl --help' for usage.")]
    [InlineData("snapshot check --data-dir rs/a", "Error: unknown command \"snapshot check\" for \"etcdutl\"\nRun 'etcdutl --help' for usage.")]
    [InlineData("snapshot --data-dir rs/a", "Error: unknown command \"snapshot\" for \"etcdutl\"\nRun 'etcdutl --help' for usage.")]
    public async Task Of_an_unknown_command_only_the_word_is_named(string line, string says)
    {
        using StringWriter said = new();
        Assert.Equal(128, await new EtcdutlCommand(TextWriter.Null, said).RunAsync(line.Split(' ')));
        Assert.Equal(says, said.ToString().Trim());
    }

    [Fact]
    public async Task Defrag_looks_for_a_member()
    {
        string directory = Directory.CreateTempSubdirectory("kapell-defrag").FullName;
        try
        {
            using StringWriter said = new();
            Assert.Equal(1, await new EtcdutlCommand(said, said).RunAsync(["defrag", "--data-dir", directory]));
            Directory.CreateDirectory(Path.Combine(directory, "member"));
            Assert.Equal(0, await new EtcdutlCommand(said, said).RunAsync(["defrag", "--data-dir", directory]));
            Assert.Contains("finished defragmenting directory", said.ToString(), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }
}
