using System.Text;
using Kapell.Base;
using Kapell.Machinery;
using Kapell.Scheduler.Framework;
using Kapell.Scheduler.Plugins.NodeAffinity;
using Kapell.Scheduler.Plugins.NodeName;
using Kapell.Scheduler.Plugins.NodePorts;
using Kapell.Scheduler.Plugins.NodeResources;
using Kapell.Scheduler.Plugins.NodeUnschedulable;
using Kapell.Scheduler.Plugins.TaintToleration;
using Xunit;

namespace Kapell.Kube.Tests.Scheduler;

public sealed class SchedulingAlgorithmTests
{
    private readonly List<NodeInfo> _nodes = [];

    [Fact]
    public void An_empty_cluster_has_no_nodes_available() => Assert.Equal("no nodes available to schedule pods", Schedule("{}").Message);

    [Fact]
    public void The_emptier_node_is_chosen()
    {
        Node("full").Add(Pod("""{"nodeName":"full","containers":[{"resources":{"requests":{"cpu":"1500m","memory":"2Gi"}}}]}""", "p1"));
        Node("empty");
        Assert.Equal("empty", Schedule("""{"containers":[{"resources":{"requests":{"cpu":"100m"}}}]}""").NodeName);
    }

    [Theory]
    [InlineData("""{"containers":[{"resources":{"requests":{"cpu":"3"}}}]}""", "0/1 nodes are available: 1 Insufficient cpu.")]
    [InlineData("""{"containers":[{"resources":{"requests":{"cpu":"3","memory":"9Gi"}}}]}""", "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.")]
    [InlineData("""{"initContainers":[{"resources":{"requests":{"cpu":"3"}}}],"containers":[{}]}""", "0/1 nodes are available: 1 Insufficient cpu.")]
    [InlineData("""{"nodeSelector":{"disk":"ssd"},"containers":[{}]}""", "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")]
    [InlineData("""{"containers":[{"resources":{"requests":{"example.com/gpu":"1"}}}]}""", "0/1 nodes are available: 1 Insufficient example.com/gpu.")]
    public void A_pod_that_fits_nowhere_is_told_why_in_upstreams_words(string spec, string message)
    {
        Node("one");
        Placement placement = Schedule(spec);
        Assert.Null(placement.NodeName);
        Assert.Equal(message, placement.Message);
    }

    [Fact]
    public void A_taint_keeps_off_pods_that_do_not_tolerate_it()
    {
        Node("tainted", """{"taints":[{"key":"dedicated","value":"db","effect":"NoSchedule"}]}""");
        Assert.Equal("0/1 nodes are available: 1 node(s) had untolerated taint {dedicated: db}.", Schedule("""{"containers":[{}]}""").Message);
        Assert.Equal("tainted", Schedule("""{"containers":[{}],"tolerations":[{"key":"dedicated","operator":"Exists"}]}""").NodeName);
        Assert.Null(Schedule("""{"containers":[{}],"tolerations":[{"key":"dedicated","operator":"Equal","value":"web"}]}""").NodeName);
    }

    [Fact]
    public void A_cordoned_node_takes_no_pod()
    {
        Node("cordoned", """{"unschedulable":true}""");
        Assert.Equal("0/1 nodes are available: 1 node(s) were unschedulable.", Schedule("""{"containers":[{}]}""").Message);
    }

    [Theory]
    [InlineData("0.0.0.0", "127.0.0.1", false)]
    [InlineData("127.0.0.1", "127.0.0.2", true)]
    [InlineData("127.0.0.1", "127.0.0.1", false)]
    public void Host_ports_conflict_on_the_same_address_or_on_all(string taken, string wanted, bool fits)
    {
        Node("one").Add(Pod($$"""{"nodeName":"one","containers":[{"ports":[{"hostPort":80,"hostIP":"{{taken}}"}]}]}""", "p1"));
        Assert.Equal(fits, Schedule($$"""{"containers":[{"ports":[{"hostPort":80,"hostIP":"{{wanted}}"}]}]}""").NodeName is not null);
    }

    [Fact]
    public void Preferred_affinity_outweighs_an_emptier_node()
    {
        Node("plain");
        Node("ssd", labels: """{"disk":"ssd"}""").Add(Pod("""{"nodeName":"ssd","containers":[{"resources":{"requests":{"cpu":"500m"}}}]}""", "p1"));
        Assert.Equal("ssd", Schedule("""
            {"containers":[{}],"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[
              {"weight":50,"preference":{"matchExpressions":[{"key":"disk","operator":"In","values":["ssd"]}]}}]}}}
            """).NodeName);
    }

    [Fact]
    public void Equal_nodes_are_drawn_by_the_seed_and_all_are_drawn()
    {
        Node("a");
        Node("b");
        Node("c");
        SchedulingAlgorithm algorithm = Algorithm(7);
        HashSet<string> drawn = [.. Enumerable.Range(0, 60).Select(_ => algorithm.Schedule(Pod("""{"containers":[{}]}""", "x"), _nodes).NodeName!)];
        Assert.Equal(3, drawn.Count);
    }

    private static SchedulingAlgorithm Algorithm(ulong seed)
    {
        TaintTolerationPlugin taints = new();
        NodeAffinityPlugin affinity = new();
        NodeResourcesFitPlugin fit = new();
        return new([new NodeUnschedulablePlugin(), new NodeNamePlugin(), taints, affinity, new NodePortsPlugin(), fit],
            [taints, affinity, fit, new NodeResourcesBalancedAllocationPlugin()], new Prng(seed));
    }

    private static PodInfo Pod(string spec, string uid) => new(Object($$$"""{"metadata":{"name":"p","namespace":"d","uid":"{{{uid}}}"},"spec":{{{spec}}}}"""));

    private static KubeObject Object(string json) => new(Encoding.UTF8.GetBytes(json));

    private Placement Schedule(string spec) => Algorithm(1).Schedule(Pod(spec, "new"), _nodes);

    private NodeInfo Node(string name, string spec = "{}", string labels = "{}")
    {
        NodeInfo node = new(name);
        node.SetNode(Object($$$$"""{"metadata":{"name":"{{{{name}}}}","labels":{{{{labels}}}}},"spec":{{{{spec}}}},"status":{"allocatable":{"cpu":"2","memory":"4Gi","pods":"110"}}}"""));
        _nodes.Add(node);
        return node;
    }
}
