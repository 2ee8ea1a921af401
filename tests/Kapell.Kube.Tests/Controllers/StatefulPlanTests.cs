using System.Text.Json.Nodes;
using Kapell.Controllers.StatefulSets;
using Kapell.Machinery;
using Xunit;

namespace Kapell.Kube.Tests.Controllers;

public sealed class StatefulPlanTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 1, 1, 0, 0, TimeSpan.Zero);
    private static readonly KubeObject Old = Revision("s-old"), New = Revision("s-new");

    [Fact]
    public void Pods_are_made_one_after_another()
    {
        Assert.Equal([0], Next(Set(), []).Create);
        Assert.Empty(Next(Set(), [Pod(0, ready: false)]).Create);
        Assert.Equal([1], Next(Set(), [Pod(0)]).Create);
    }

    [Fact]
    public void A_parallel_set_makes_all_at_once() => Assert.Equal([0, 1, 2], Next(Set("\"podManagementPolicy\":\"Parallel\""), []).Create);

    [Fact]
    public void Numbers_may_start_elsewhere() => Assert.Equal([5], Next(Set("\"ordinals\":{\"start\":5}"), []).Create);

    [Fact]
    public void A_set_shrinks_from_the_top_and_waits_for_each()
    {
        StatefulStep step = Next(Set(replicas: 1), [Pod(0), Pod(1), Pod(2)]);
        Assert.Equal(["s-2"], step.Delete.Select(p => p.Name));
        Assert.Empty(Next(Set(replicas: 1), [Pod(0), Pod(1), Pod(2, going: true)]).Delete);
    }

    [Fact]
    public void A_set_does_not_shrink_past_another_pod_that_is_not_well()
    {
        Assert.Empty(Next(Set(replicas: 1), [Pod(0), Pod(1, ready: false), Pod(2, ready: false)]).Delete);
        Assert.Equal(["s-2"], Next(Set(replicas: 1), [Pod(0), Pod(1), Pod(2, ready: false)]).Delete.Select(p => p.Name));
    }

    [Fact]
    public void A_finished_pod_is_deleted_to_run_again() =>
        Assert.Equal(["s-0"], Next(Set(), [Pod(0, phase: "Succeeded")]).Delete.Select(p => p.Name));

    [Fact]
    public void An_update_goes_down_from_the_top_to_the_partition()
    {
        Assert.Equal(["s-2"], Next(Set(), [Pod(0, "s-old"), Pod(1, "s-old"), Pod(2, "s-old")]).Delete.Select(p => p.Name));
        Assert.Equal(["s-1"], Next(Set(), [Pod(0, "s-old"), Pod(1, "s-old"), Pod(2)]).Delete.Select(p => p.Name));
        KubeObject partitioned = Set("\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"partition\":2}}");
        Assert.Empty(Next(partitioned, [Pod(0, "s-old"), Pod(1, "s-old"), Pod(2)]).Delete);
        Assert.Same(Old, StatefulPlan.RevisionFor(partitioned, Old, New, 1));
        Assert.Same(New, StatefulPlan.RevisionFor(partitioned, Old, New, 2));
    }

    [Fact]
    public void On_delete_leaves_old_pods_alone() =>
        Assert.Empty(Next(Set("\"updateStrategy\":{\"type\":\"OnDelete\"}"), [Pod(0, "s-old"), Pod(1, "s-old"), Pod(2, "s-old")]).Delete);

    [Fact]
    public void A_finished_update_makes_the_new_revision_the_current_one()
    {
        KubeObject[] pods = [Pod(0), Pod(1), Pod(2)];
        JsonObject status = StatefulPlan.Status(Set(), Old, New, pods, new StatefulStep(), Now);
        Assert.Equal(("s-new", "s-new", "3"), (status["currentRevision"]!.ToString(), status["updateRevision"]!.ToString(), status["currentReplicas"]!.ToString()));
        status = StatefulPlan.Status(Set(), Old, New, [Pod(0, "s-old"), Pod(1), Pod(2)], new StatefulStep(), Now);
        Assert.Equal(("s-old", "1", "2"), (status["currentRevision"]!.ToString(), status["currentReplicas"]!.ToString(), status["updatedReplicas"]!.ToString()));
    }

    [Fact]
    public void A_pod_has_name_host_claim_and_revision()
    {
        KubeObject set = Set("\"serviceName\":\"svc\",\"volumeClaimTemplates\":[{\"metadata\":{\"name\":\"data\"},\"spec\":{\"storageClassName\":\"x\"}}]");
        JsonObject pod = StatefulPods.Make(set, New, 1);
        Assert.Equal("s-1", pod["metadata"]!["name"]!.ToString());
        Assert.Equal("s-new", pod["metadata"]!["labels"]!["controller-revision-hash"]!.ToString());
        Assert.Equal("1", pod["metadata"]!["labels"]!["apps.kubernetes.io/pod-index"]!.ToString());
        Assert.Equal(("s-1", "svc"), (pod["spec"]!["hostname"]!.ToString(), pod["spec"]!["subdomain"]!.ToString()));
        Assert.Equal("data-s-1", pod["spec"]!["volumes"]![0]!["persistentVolumeClaim"]!["claimName"]!.ToString());
        JsonObject claim = Assert.Single(StatefulPods.Claims(set, 1));
        Assert.Equal(("data-s-1", "web"), (claim["metadata"]!["name"]!.ToString(), claim["metadata"]!["labels"]!["app"]!.ToString()));
    }

    private static StatefulStep Next(KubeObject set, KubeObject[] pods) => StatefulPlan.Next(set, New, pods, Now);

    private static KubeObject Set(string more = "\"x\":0", int replicas = 3) => Doc.Of($$$"""
        {"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"s","namespace":"default","uid":"s","generation":1},
         "spec":{"replicas":{{{replicas}}},"selector":{"matchLabels":{"app":"web"}}, {{{more}}} },"status":{}}
        """);

    private static KubeObject Revision(string name) => Doc.Of($$$"""
        {"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"{{{name}}}","namespace":"default","uid":"{{{name}}}"},"revision":1,
         "data":{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"a","image":"b"}] } } } } }
        """);

    private static KubeObject Pod(int ordinal, string revision = "s-new", bool ready = true, bool going = false, string phase = "Running") =>
        Doc.Pod($"s-{ordinal}", phase, ready, meta: $",\"labels\":{{\"controller-revision-hash\":\"{revision}\",\"statefulset.kubernetes.io/pod-name\":\"s-{ordinal}\","
            + $"\"apps.kubernetes.io/pod-index\":\"{ordinal}\"}}" + (going ? ",\"deletionTimestamp\":\"2026-01-01T00:30:00Z\"" : ""));
}
