using Kapell.Base;
using Xunit;

namespace Kapell.Etcd.Tests.Flags;

public sealed class ListFlagTests
{
    [Fact]
    public void In_etcd_a_flag_takes_the_place_of_the_variable_and_of_itself()
    {
        FlagSet flags = new("etcd", "", FlagWords.Go);
        FlagValue<IReadOnlyList<string>> urls = flags.List("listen-client-urls", ["http://localhost:2379"], "");
        flags.SetFromText("listen-client-urls", "http://10.0.0.1:2379");
        flags.Parse(["--listen-client-urls", "http://10.0.0.2:2379", "--listen-client-urls=http://10.0.0.3:2379,http://10.0.0.4:2379"]);
        Assert.Equal(["http://10.0.0.3:2379", "http://10.0.0.4:2379"], urls.Value);
    }

    [Fact]
    public void In_the_programs_of_Kubernetes_repeated_flags_add_up()
    {
        FlagSet flags = new("kube-apiserver", "");
        FlagValue<IReadOnlyList<string>> urls = flags.List("etcd-servers", [], "");
        flags.Parse(["--etcd-servers=a,b", "--etcd-servers=c"]);
        Assert.Equal(["a", "b", "c"], urls.Value);
    }
}
