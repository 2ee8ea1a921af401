using Kapell.Controllers.GarbageCollection;
using Kapell.Machinery;
using Xunit;

namespace Kapell.Kube.Tests.Controllers;

public sealed class OwnerGraphTests
{
    [Fact]
    public void A_dependent_is_looked_at_when_its_owner_goes()
    {
        OwnerGraph graph = new();
        graph.Seen(Object("owner"), Key);
        graph.Seen(Object("child", owner: "owner"), Key);
        Assert.Equal(["child"], graph.Gone("owner").Delete);
    }

    [Fact]
    public void An_owner_never_seen_is_asked_for()
    {
        OwnerGraph graph = new();
        Assert.Contains("owner", graph.Seen(Object("child", owner: "owner"), Key).Delete);
        Assert.True(graph.Get("owner")!.IsVirtual);
        graph.Gone("child");
        Assert.Equal(0, graph.Count);
    }

    [Fact]
    public void Foreground_deletion_waits_for_dependents_that_block()
    {
        OwnerGraph graph = new();
        graph.Seen(Object("owner"), Key);
        graph.Seen(Object("child", owner: "owner", block: true), Key);
        GraphWork work = graph.Seen(Object("owner", deleting: "foregroundDeletion"), Key);
        Assert.Equal(["child", "owner"], work.Delete.Order());
        Assert.Equal(["child"], graph.Blocking("owner"));
        Assert.Contains("owner", graph.Gone("child").Delete);
        Assert.Empty(graph.Blocking("owner"));
    }

    [Fact]
    public void A_dependent_that_stops_blocking_lets_the_owner_be_looked_at_again()
    {
        OwnerGraph graph = new();
        graph.Seen(Object("owner", deleting: "foregroundDeletion"), Key);
        graph.Seen(Object("child", owner: "owner", block: true), Key);
        Assert.Contains("owner", graph.Seen(Object("child", owner: "owner", block: false), Key).Delete);
    }

    [Fact]
    public void Orphaning_is_asked_for_by_the_finalizer()
    {
        OwnerGraph graph = new();
        Assert.Equal(["owner"], graph.Seen(Object("owner", deleting: "orphan"), Key).Orphan);
    }

    private static ObjectKey Key(Kapell.Controllers.Shared.OwnerReference r, string ns) => new(ns, r.Name);

    private static KubeObject Object(string name, string owner = "", bool block = false, string deleting = "") => Doc.Of($$"""
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{name}}","namespace":"default","uid":"{{name}}"
        {{(deleting.Length > 0 ? $",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"finalizers\":[\"{deleting}\"]" : "")}}
        {{(owner.Length > 0 ? $",\"ownerReferences\":[{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"{owner}\",\"uid\":\"{owner}\",\"blockOwnerDeletion\":{(block ? "true" : "false")}}}]" : "")}} } }
        """);
}
