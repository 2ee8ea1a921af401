using System.Text.Json.Nodes;
using Kapell.Controllers.DaemonSets;
using Kapell.Controllers.Disruptions;
using Kapell.Machinery;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace Kapell.Kube.Tests.Controllers;

public sealed class DaemonAndBudgetTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 1, 1, 0, 0, TimeSpan.Zero);
    private static readonly KubeObject[] Nodes = [Node("n1"), Node("n2"), Node("n3")];

    [Fact]
    public void A_node_without_a_pod_gets_one_and_a_second_pod_goes()
    {
        DaemonChanges changes = Changes(Set(), [Pod("a", "n1"), Pod("b", "n1"), Pod("c", "n2")]);
        Assert.Equal(["n3"], changes.CreateOn);
        Assert.Equal(["b"], changes.Delete.Select(p => p.Name));
    }

    [Fact]
    public void A_failed_pod_is_replaced_only_when_its_back_off_is_over()
    {
        KubeObject[] pods = [Doc.Pod("a", "Failed"), Pod("b", "n2"), Pod("c", "n3")];
        Assert.Empty(DaemonPlan.Changes(Set(), Nodes, pods, "new", Now, _ => false).Delete);
        Assert.Single(Changes(Set(), pods).Delete);
    }

    [Fact]
    public void A_rolling_update_takes_broken_pods_at_once_and_others_by_the_limit()
    {
        KubeObject[] pods = [Pod("a", "n1", "old"), Pod("b", "n2", "old"), Pod("c", "n3", "old")];
        Assert.Equal(["a"], Roll(Set(), pods).Delete.Select(p => p.Name));
        Assert.Equal(["a", "b"], Roll(Set("\"rollingUpdate\":{\"maxUnavailable\":\"50%\"}"), pods).Delete.Select(p => p.Name));
        Assert.Equal(["b"], Roll(Set(), [pods[0], Pod("b", "n2", "old", ready: false), pods[2]]).Delete.Select(p => p.Name));
        Assert.Empty(Roll(Set(), [Pod("a", "n1", ready: false), pods[1], pods[2]]).Delete);
        Assert.True(DaemonPlan.Roll(Set(type: "OnDelete"), Nodes, pods, "new", Now).IsEmpty);
    }

    [Fact]
    public void With_surge_the_new_pod_comes_first()
    {
        KubeObject set = Set("\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}");
        KubeObject[] old = [Pod("a", "n1", "old"), Pod("b", "n2", "old"), Pod("c", "n3", "old")];
        Assert.Equal(["n1"], Roll(set, old).CreateOn);
        Assert.True(Roll(set, [.. old, Pod("d", "n1", ready: false)]).IsEmpty);
        Assert.Equal(["a"], Changes(set, [.. old, Pod("d", "n1")]).Delete.Select(p => p.Name));
        Assert.True(Changes(set, [.. old, Pod("d", "n1", ready: false)]).IsEmpty);
    }

    [Fact]
    public void A_node_that_keeps_failing_pods_waits_longer_each_time()
    {
        FakeTimeProvider time = new(Now);
        FailureBackoff backoff = new(time);
        Assert.Equal(TimeSpan.Zero, backoff.Next("k", "1"));
        Assert.Equal(TimeSpan.FromSeconds(1), backoff.Next("k", "2"));
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(TimeSpan.Zero, backoff.Next("k", "2"));
        Assert.Equal(TimeSpan.FromSeconds(2), backoff.Next("k", "3"));
    }

    [Theory]
    [InlineData("\"minAvailable\":2", 5, 3, 3, 2)]
    [InlineData("\"minAvailable\":\"50%\"", 5, 3, 5, 3)]
    [InlineData("\"maxUnavailable\":1", 5, 3, 5, 4)]
    [InlineData("\"maxUnavailable\":\"30%\"", 5, 3, 5, 3)]
    [InlineData("\"maxUnavailable\":9", 5, 3, 5, 0)]
    public void A_budget_wants_so_many_healthy(string spec, long wanted, int pods, long expected, long healthy) =>
        Assert.Equal(new BudgetNeed(expected, healthy), BudgetPlan.Need(Budget(spec), wanted, pods));

    [Fact]
    public void A_granted_eviction_counts_as_unhealthy_until_it_runs_out()
    {
        KubeObject budget = Budget("\"maxUnavailable\":1", "\"disruptedPods\":{\"a\":\"2026-01-01T00:59:00Z\",\"b\":\"2026-01-01T00:57:00Z\",\"gone\":\"2026-01-01T00:59:00Z\"}");
        KubeObject[] pods = [Pod("a", "n1"), Pod("b", "n1"), Pod("c", "n1")];
        List<string> kept = [];
        JsonObject disrupted = BudgetPlan.Disrupted(budget, pods, Now, p => kept.Add(p.Name), out DateTimeOffset? recheck);
        Assert.Equal(["a"], disrupted.Select(p => p.Key));
        Assert.Equal(["b"], kept);
        Assert.Equal(DateTimeOffset.Parse("2026-01-01T01:01:00Z"), recheck);
        JsonObject status = BudgetPlan.Status(budget, pods, new BudgetNeed(3, 2), disrupted, Now);
        Assert.Equal(("2", "0"), (status["currentHealthy"]!.ToString(), status["disruptionsAllowed"]!.ToString()));
        Assert.Equal("InsufficientPods", status["conditions"]![0]!["reason"]!.ToString());
        status = BudgetPlan.Status(budget, pods, new BudgetNeed(3, 2), [], Now);
        Assert.Equal(("3", "1"), (status["currentHealthy"]!.ToString(), status["disruptionsAllowed"]!.ToString()));
    }

    private static DaemonChanges Changes(KubeObject set, KubeObject[] pods) => DaemonPlan.Changes(set, Nodes, pods, "new", Now, _ => true);

    private static DaemonChanges Roll(KubeObject set, KubeObject[] pods) => DaemonPlan.Roll(set, Nodes, pods, "new", Now);

    private static KubeObject Set(string strategy = "\"x\":0", string type = "RollingUpdate") => Doc.Of($$$"""
        {"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"d","namespace":"default","uid":"d"},
         "spec":{"updateStrategy":{"type":"{{{type}}}", {{{strategy}}} },"template":{"spec":{} } },"status":{} }
        """);

    private static KubeObject Budget(string spec, string status = "") => Doc.Of($$$"""
        {"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"b","namespace":"default","uid":"b","generation":1},"spec":{ {{{spec}}} },"status":{ {{{status}}} } }
        """);

    private static KubeObject Node(string name) => Doc.Of($$$"""
        {"apiVersion":"v1","kind":"Node","metadata":{"name":"{{{name}}}","uid":"{{{name}}}"},"spec":{},"status":{} }
        """);

    private static KubeObject Pod(string name, string node, string hash = "new", bool ready = true) => Doc.Of($$$"""
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{{name}}}","namespace":"default","uid":"uid-{{{name}}}","creationTimestamp":"2026-01-01T00:00:00Z",
          "labels":{"controller-revision-hash":"{{{hash}}}"}},
         "spec":{"nodeName":"{{{node}}}"},
         "status":{"phase":"Running","conditions":[{"type":"Ready","status":"{{{(ready ? "True" : "False")}}}","lastTransitionTime":"2026-01-01T00:00:00Z"}] } }
        """);
}
