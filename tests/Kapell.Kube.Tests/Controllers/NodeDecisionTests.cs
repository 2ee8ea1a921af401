using Kapell.Controllers.Nodes;
using Kapell.Machinery;
using Xunit;

namespace Kapell.Kube.Tests.Controllers;

public sealed class NodeDecisionTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 1, 0, 10, 0, TimeSpan.Zero);

    [Fact]
    public void The_lowest_free_block_is_given()
    {
        CidrBlocks blocks = CidrBlocks.Parse("10.244.0.0/16", 24)!;
        Assert.Equal("10.244.0.0/24", blocks.FirstFree(new HashSet<string>()));
        Assert.Equal("10.244.1.0/24", blocks.FirstFree(new HashSet<string> { "10.244.0.0/24", "10.244.2.0/24" }));
        Assert.Null(CidrBlocks.Parse("10.0.0.0/30", 30)!.FirstFree(new HashSet<string> { "10.0.0.0/30" }));
        Assert.Null(CidrBlocks.Parse("nonsense", 24));
    }

    [Fact]
    public void A_node_that_is_down_is_tainted_but_drives_nobody_away_when_all_are_down()
    {
        KubeObject node = Node("Unknown", "");
        Assert.Contains(new TaintKey("node.kubernetes.io/unreachable", "NoExecute"), NodeTaints.Wanted(node, mayEvict: true));
        Assert.DoesNotContain(new TaintKey("node.kubernetes.io/unreachable", "NoExecute"), NodeTaints.Wanted(node, mayEvict: false));
    }

    [Fact]
    public void Foreign_taints_are_kept_when_ours_are_taken_off()
    {
        KubeObject node = Node("True", """{"key":"mine","effect":"NoSchedule"},{"key":"node.kubernetes.io/not-ready","effect":"NoSchedule"}""");
        Assert.Equal("""[{"key":"mine","effect":"NoSchedule"}]""", NodeTaints.Corrected(node, NodeTaints.Wanted(node, true), Now)!.ToJsonString());
        KubeObject right = Node("True", """{"key":"mine","effect":"NoSchedule"}""");
        Assert.Null(NodeTaints.Corrected(right, NodeTaints.Wanted(right, true), Now));
    }

    [Fact]
    public void A_pod_leaves_when_its_shortest_toleration_has_run_out()
    {
        KubeObject node = Node("Unknown", """{"key":"node.kubernetes.io/unreachable","effect":"NoExecute","timeAdded":"2026-01-01T00:08:00Z"}""");
        KubeObject pod = Doc.Pod("a", more: ""","tolerations":[{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}]""");
        Assert.Equal(Now.AddMinutes(3), NodeTaints.EvictionTime(pod, node, Now));
        Assert.Equal(Now, NodeTaints.EvictionTime(Doc.Pod("b"), node, Now));
        Assert.Null(NodeTaints.EvictionTime(Doc.Pod("c", more: ""","tolerations":[{"operator":"Exists"}]"""), node, Now));
    }

    private static KubeObject Node(string ready, string taints) => Doc.Of($$"""
        {"apiVersion":"v1","kind":"Node","metadata":{"name":"n1","uid":"n1"},"spec":{"taints":[{{taints}}]},
         "status":{"conditions":[{"type":"Ready","status":"{{ready}}"}] } }
        """);
}
