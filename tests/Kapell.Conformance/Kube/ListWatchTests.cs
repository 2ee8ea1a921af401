using System.Text.Json.Nodes;
using Xunit;

namespace Kapell.Conformance.Kube;

/// <summary>Lists, chunks, selectors, watches and what resourceVersion means in each.</summary>
public abstract class ListWatchTests(ClusterFixture cluster)
{
    private readonly ApiClient _api = cluster.Admin;

    [Fact]
    public async Task Lists_are_sorted_and_can_be_chunked()
    {
        string maps = await Maps(5);
        Answer all = (await _api.Get(maps)).Is(200);
        Assert.Equal(("ConfigMapList", "v1"), (all["kind"], all["apiVersion"]));
        Assert.Equal(["m0", "m1", "m2", "m3", "m4"], all.Names());
        Answer first = (await _api.Get(maps + "?limit=2")).Is(200);
        Assert.Equal(["m0", "m1"], first.Names());
        Assert.Equal("3", first["metadata.remainingItemCount"]);
        (await _api.Delete(maps + "/m3")).Is(200);
        Answer second = (await _api.Get($"{maps}?limit=2&continue={first["metadata.continue"]}")).Is(200);
        Assert.Equal(["m2", "m3"], second.Names());
        Assert.Equal(first.Version, second.Version);
        Answer third = (await _api.Get($"{maps}?limit=2&continue={second["metadata.continue"]}")).Is(200);
        Assert.Equal(["m4"], third.Names());
        Assert.Equal("", third["metadata.continue"]);
        Answer selected = (await _api.Get(maps + "?limit=1&labelSelector=odd=false")).Is(200);
        Assert.Equal(["m0"], selected.Names());
        Assert.Null(selected.At("metadata.remainingItemCount"));
        Assert.NotEqual("", selected["metadata.continue"]);
        (await _api.Get(maps + "?continue=rubbish!")).Is(400);
        (await _api.Get($"{maps}?resourceVersion={first.Version}&continue={first["metadata.continue"]}"))
            .Fails(400, "BadRequest", "specifying resource version is not allowed when using continue");
    }

    [Fact]
    public async Task A_chunked_list_that_is_too_old_says_how_to_go_on()
    {
        string maps = await Maps(3);
        Answer first = (await _api.Get(maps + "?limit=1")).Is(200);
        (await _api.Post(maps, """{"metadata":{"name":"m9"}}""")).Is(201);
        await cluster.CompactStore();
        Answer expired = (await _api.Get($"{maps}?limit=2&continue={first["metadata.continue"]}")).Is(410);
        Assert.Equal("Expired", expired["reason"]);
        Assert.StartsWith("The provided continue parameter is too old to display a consistent list result.", expired["message"], StringComparison.Ordinal);
        Answer rest = (await _api.Get($"{maps}?continue={expired["metadata.continue"]}")).Is(200);
        Assert.Equal(["m1", "m2", "m9"], rest.Names());
        (await _api.Get($"{maps}?resourceVersion={first.Version}&resourceVersionMatch=Exact")).Fails(410, "Expired",
            "The resourceVersion for the provided list is too old.");
    }

    [Fact]
    public async Task A_list_of_an_exact_or_a_minimal_version()
    {
        string maps = await Maps(2);
        string before = (await _api.Get(maps)).Is(200).Version;
        string after = (await _api.Post(maps, """{"metadata":{"name":"m9"}}""")).Is(201).Version;
        Answer exact = (await _api.Get($"{maps}?resourceVersion={before}&resourceVersionMatch=Exact")).Is(200);
        Assert.Equal(["m0", "m1"], exact.Names());
        Assert.Equal(before, exact.Version);
        Answer atLeast = (await _api.Get($"{maps}?resourceVersion={after}&resourceVersionMatch=NotOlderThan")).Is(200);
        Assert.Equal(["m0", "m1", "m9"], atLeast.Names());
        Assert.True(long.Parse(atLeast.Version) >= long.Parse(after));
        Assert.Contains("m0", (await _api.Get(maps + "?resourceVersion=0")).Is(200).Names());
        string future = (long.Parse(after) + 1_000_000).ToString();
        Answer late = (await _api.Get($"{maps}?resourceVersion={future}")).Is(504);
        Assert.Equal("Timeout", late["reason"]);
        Assert.StartsWith($"Timeout: Too large resource version: {future}, current: ", late["message"], StringComparison.Ordinal);
        Assert.Equal("ResourceVersionTooLarge", late["details.causes.0.reason"]);
        Answer bad = (await _api.Get(maps + "?resourceVersion=x")).Is(400);
        Assert.Equal("BadRequest", bad["reason"]);
    }

    [Theory]
    [InlineData("resourceVersionMatch=Exact", "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")]
    [InlineData("resourceVersionMatch=Exact&resourceVersion=0", "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")]
    [InlineData("resourceVersionMatch=Maybe&resourceVersion=1", "resourceVersionMatch: Unsupported value: \"Maybe\": supported values: \"Exact\", \"NotOlderThan\", \"\"")]
    [InlineData("sendInitialEvents=true", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list")]
    [InlineData("watch=1&resourceVersionMatch=NotOlderThan", "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")]
    [InlineData("watch=1&sendInitialEvents=true", "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")]
    public async Task Options_of_lists_are_validated(string query, string fault) =>
        (await _api.Get($"/api/v1/namespaces/default/configmaps?{query}")).Fails(422, "Invalid", $"ListOptions.meta.k8s.io \"\" is invalid: {fault}");

    [Theory]
    [InlineData("odd=true", "m1")]
    [InlineData("odd==true,tier=a", "m1")]
    [InlineData("odd!=true", "m0,m2")]
    [InlineData("tier in (a)", "m0,m1")]
    [InlineData("tier notin (a)", "m2")]
    [InlineData("tier in (a,b),odd=false", "m0,m2")]
    [InlineData("nothere", "")]
    [InlineData("!nothere", "m0,m1,m2")]
    [InlineData("n>0", "m1,m2")]
    [InlineData("n<1", "m0")]
    public async Task Labels_select(string selector, string names)
    {
        string maps = await Maps(3);
        Answer found = (await _api.Get($"{maps}?labelSelector={Uri.EscapeDataString(selector)}")).Is(200);
        Assert.Equal(names, string.Join(',', found.Names()));
    }

    [Fact]
    public async Task Selectors_that_cannot_be_read_are_refused()
    {
        string maps = await Maps(0);
        (await _api.Get(maps + "?labelSelector=a%20b")).Fails(400, "BadRequest",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
        (await _api.Get(maps + "?fieldSelector=spec.x%3D1")).Fails(400, "BadRequest",
            "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
        (await _api.Get("/api/v1/pods?fieldSelector=spec.x%3D1")).Fails(400, "BadRequest", "field label not supported: spec.x");
        (await _api.Get("/api/v1/pods?fieldSelector=x")).Fails(400, "BadRequest", "invalid selector: 'x'; can't understand 'x'");
    }

    [Fact]
    public async Task Fields_select()
    {
        string ns = await cluster.NewNamespace();
        string pods = $"/api/v1/namespaces/{ns}/pods";
        (await _api.Post(pods, Pods.Body("a", node: "n1"))).Is(201);
        (await _api.Post(pods, Pods.Body("b"))).Is(201);
        (await _api.Patch(pods + "/b/status", ApiClient.MergePatch, """{"status":{"phase":"Running","podIP":"10.0.0.7","podIPs":[{"ip":"10.0.0.7"}]}}""")).Is(200);
        async Task<string> Found(string selector) =>
            string.Join(',', (await _api.Get($"{pods}?fieldSelector={Uri.EscapeDataString(selector)}")).Is(200).Names());
        Assert.Equal("a", await Found("spec.nodeName=n1"));
        Assert.Equal("b", await Found("spec.nodeName="));
        Assert.Equal("b", await Found("spec.nodeName!=n1"));
        Assert.Equal("b", await Found("status.phase=Running"));
        Assert.Equal("b", await Found("status.podIP=10.0.0.7"));
        Assert.Equal("a", await Found("metadata.name=a,status.phase=Pending"));
        Assert.Equal("a,b", await Found("metadata.namespace=" + ns));
        Assert.Equal("a,b", await Found("spec.restartPolicy=Always,spec.schedulerName=default-scheduler,spec.serviceAccountName=default,spec.hostNetwork=false"));
        string events = $"/api/v1/namespaces/{ns}/events";
        (await _api.Post(events, $$$"""
            {"metadata":{"name":"e1"},"involvedObject":{"kind":"Pod","name":"a","namespace":"{{{ns}}}","uid":"u1","fieldPath":"spec.containers{c}"},
             "reason":"Killing","type":"Normal","source":{"component":"kubelet"}}
            """)).Is(201);
        foreach (string one in (string[])["involvedObject.kind=Pod", "involvedObject.name=a", "involvedObject.uid=u1", "reason=Killing", "type=Normal",
            "source=kubelet", "involvedObject.fieldPath=spec.containers{c}", "involvedObject.namespace=" + ns])
        {
            Assert.Equal(["e1"], (await _api.Get($"{events}?fieldSelector={Uri.EscapeDataString(one)}")).Is(200).Names());
            Assert.Empty((await _api.Get($"{events}?fieldSelector={Uri.EscapeDataString(one + "x")}")).Is(200).Names());
        }
    }

    [Fact]
    public async Task A_watch_tells_what_comes_after_a_version()
    {
        string maps = await Maps(1);
        string from = (await _api.Get(maps)).Version;
        using WatchReader watch = await _api.Watch($"{maps}?watch=1&resourceVersion={from}");
        (await _api.Post(maps, """{"metadata":{"name":"x"},"data":{"k":"1"}}""")).Is(201);
        string changed = (await _api.Patch(maps + "/x", ApiClient.MergePatch, """{"data":{"k":"2"}}""")).Is(200).Version;
        (await _api.Delete(maps + "/x")).Is(200);
        Assert.Equal("ADDED x", (await watch.Take(1))[0]);
        (string type, JsonNode obj) = await watch.Next();
        Assert.Equal(("MODIFIED", changed), (type, Answer.At(obj, "metadata.resourceVersion")!.ToString()));
        (type, obj) = await watch.Next();
        Assert.Equal("DELETED", type);
        Assert.True(long.Parse(Answer.At(obj, "metadata.resourceVersion")!.ToString()) > long.Parse(changed), "a deletion has its own version");
        Assert.Equal("2", Answer.At(obj, "data.k")!.ToString());
        using WatchReader again = await _api.Watch($"{maps}?watch=1&resourceVersion={from}&timeoutSeconds=5");
        Assert.Equal(["ADDED x", "MODIFIED x", "DELETED x"], await again.Take(3));
    }

    [Fact]
    public async Task A_watch_without_a_version_or_from_zero_begins_with_what_is_there()
    {
        string maps = await Maps(2);
        foreach (string query in (string[])["watch=1", "watch=1&resourceVersion=0"])
        {
            using WatchReader watch = await _api.Watch($"{maps}?{query}");
            Assert.Equal(["ADDED m0", "ADDED m1"], await watch.Take(2));
        }

        using WatchReader one = await _api.Watch($"{maps}?watch=1&fieldSelector=metadata.name%3Dm1");
        Assert.Equal(["ADDED m1"], await one.Take(1));
    }

    [Fact]
    public async Task What_leaves_a_selection_is_deleted_for_its_watcher()
    {
        string maps = await Maps(0);
        using WatchReader watch = await _api.Watch($"{maps}?watch=1&labelSelector=in%3Dyes");
        (await _api.Post(maps, """{"metadata":{"name":"x","labels":{"in":"no"}}}""")).Is(201);
        (await _api.Patch(maps + "/x", ApiClient.MergePatch, """{"metadata":{"labels":{"in":"yes"}}}""")).Is(200);
        (await _api.Patch(maps + "/x", ApiClient.MergePatch, """{"data":{"a":"b"}}""")).Is(200);
        (await _api.Patch(maps + "/x", ApiClient.MergePatch, """{"metadata":{"labels":{"in":"no"}}}""")).Is(200);
        (await _api.Delete(maps + "/x")).Is(200);
        (await _api.Post(maps, """{"metadata":{"name":"y","labels":{"in":"yes"}}}""")).Is(201);
        Assert.Equal(["ADDED x", "MODIFIED x", "DELETED x", "ADDED y"], await watch.Take(4));
    }

    [Fact]
    public async Task A_watch_from_a_forgotten_version_ends_with_an_error_event()
    {
        string maps = await Maps(1);
        // A server that starts now has never seen what was before.
        ApiClient fresh = await cluster.SecondServer();
        using WatchReader watch = await fresh.Watch(maps + "?watch=1&resourceVersion=1");
        (string type, JsonNode status) = await watch.Next();
        Assert.Equal("ERROR", type);
        Assert.Equal(("Status", "410", "Expired"), (status["kind"]!.ToString(), status["code"]!.ToString(), status["reason"]!.ToString()));
        Assert.StartsWith("too old resource version: 1 (", status["message"]!.ToString(), StringComparison.Ordinal);
        Assert.True(await watch.Ends());
    }

    [Fact]
    public async Task A_watch_ends_in_time_with_a_bookmark()
    {
        string maps = await Maps(1);
        using WatchReader watch = await _api.Watch(maps + "?watch=1&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=0");
        Assert.Equal(["ADDED m0"], await watch.Take(1));
        (string type, JsonNode mark) = await watch.Next();
        Assert.Equal(("BOOKMARK", "ConfigMap"), (type, mark["kind"]!.ToString()));
        Assert.NotEqual("", Answer.At(mark, "metadata.resourceVersion")!.ToString());
        Assert.True(await watch.Ends());
    }

    [Fact]
    public async Task Initial_events_end_with_a_marked_bookmark()
    {
        string maps = await Maps(2);
        using WatchReader watch = await _api.Watch(maps + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
        Assert.Equal(["ADDED m0", "ADDED m1"], await watch.Take(2));
        (string type, JsonNode mark) = await watch.Next();
        Assert.Equal(("BOOKMARK", "true"), (type, Answer.At(mark, "metadata.annotations.k8s~io/initial-events-end")!.ToString()));
        (await _api.Post(maps, """{"metadata":{"name":"x"}}""")).Is(201);
        Assert.Equal(["ADDED x"], await watch.Take(1));
    }

    [Fact]
    public async Task Tables_and_metadata_alone()
    {
        string maps = await Maps(2);
        Answer table = (await _api.Get(maps, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")).Is(200);
        Assert.Equal(("Table", "meta.k8s.io/v1"), (table["kind"], table["apiVersion"]));
        Assert.Equal(["Name", "Data", "Age"], ((JsonArray)table.At("columnDefinitions")!).Select(c => c!["name"]!.ToString()));
        Assert.Equal(("m0", "1"), (table["rows.0.cells.0"], table["rows.0.cells.1"]));
        Assert.Equal(("PartialObjectMetadata", "meta.k8s.io/v1", "m0"),
            (table["rows.0.object.kind"], table["rows.0.object.apiVersion"], table["rows.0.object.metadata.name"]));
        Assert.Null((await _api.Get(maps + "?includeObject=None", "application/json;as=Table;v=v1;g=meta.k8s.io")).At("rows.0.object"));
        Assert.Equal("ConfigMap", (await _api.Get(maps + "?includeObject=Object", "application/json;as=Table;v=v1;g=meta.k8s.io"))["rows.0.object.kind"]);
        Answer list = (await _api.Get(maps, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")).Is(200);
        Assert.Equal(("PartialObjectMetadataList", "m1"), (list["kind"], list["items.1.metadata.name"]));
        Assert.Null(list.At("items.0.data"));
        Answer one = (await _api.Get(maps + "/m0", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")).Is(200);
        Assert.Equal(("PartialObjectMetadata", "m0"), (one["kind"], one["metadata.name"]));
        using WatchReader watch = await _api.Watch(maps + "?watch=1", "application/json;as=Table;v=v1;g=meta.k8s.io");
        Assert.NotEmpty((JsonArray)(await watch.Next()).Object["columnDefinitions"]!);
        Assert.Empty((JsonArray)((await watch.Next()).Object["columnDefinitions"] ?? new JsonArray()));
    }

    private async Task<string> Maps(int count)
    {
        string maps = $"/api/v1/namespaces/{await cluster.NewNamespace()}/configmaps";
        for (int i = 0; i < count; i++)
        {
            (await _api.Post(maps, $$$"""
                {"metadata":{"name":"m{{{i}}}","labels":{"odd":"{{{(i % 2 == 1 ? "true" : "false")}}}","tier":"{{{(i < 2 ? "a" : "b")}}}","n":"{{{i}}}"}},"data":{"k":"{{{i}}}"}}
                """)).Is(201);
        }

        return maps;
    }
}
