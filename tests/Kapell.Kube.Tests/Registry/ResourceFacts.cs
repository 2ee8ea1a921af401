using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;
using Xunit;

namespace Kapell.Kube.Tests.Registry;

public class ResourceFacts
{
    private const string Container = """{"name":"c","image":"nginx"}""";
    private const string Template = """{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"name":"c","image":"nginx"}]}}""";
    private static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    public static TheoryData<string, string> ValidObjects { get; } = new()
    {
        { "pods", $$$$"""{"spec":{"containers":[{{{{Container}}}}]}}""" },
        { "pods", """
            {"spec":{"hostNetwork":true,"volumes":[{"name":"v","configMap":{"name":"x"}},{"name":"e"},{"name":"h","hostPath":{"path":"/p"}}],
            "initContainers":[{"name":"i","image":"a:1","restartPolicy":"Always","startupProbe":{"tcpSocket":{"port":80}}}],
            "containers":[{"name":"c","image":"nginx:latest","ports":[{"containerPort":80}],
            "env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],"volumeMounts":[{"name":"v","mountPath":"/v"}],
            "resources":{"limits":{"cpu":"0.5","memory":"1024Mi"}},"livenessProbe":{"httpGet":{"port":80}}}]}}
            """ },
        { "namespaces", "{}" },
        { "nodes", """{"status":{"capacity":{"cpu":2}},"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}}""" },
        { "configmaps", """{"data":{"a":"b"}}""" },
        { "secrets", """{"stringData":{"a":"b"}}""" },
        { "serviceaccounts", "{}" },
        { "services", """{"spec":{"ports":[{"port":80}],"selector":{"app":"a"}}}""" },
        { "services", """{"spec":{"type":"NodePort","sessionAffinity":"ClientIP","ports":[{"port":80,"targetPort":"web"}]}}""" },
        { "endpoints", """{"subsets":[{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"port":80}]}]}""" },
        { "events", """{"involvedObject":{"namespace":"default"}}""" },
        { "leases", """{"spec":{"holderIdentity":"a","leaseDurationSeconds":15}}""" },
        { "deployments", $$$$"""{"spec":{"selector":{"matchLabels":{"app":"a"}},"template":{{{{Template}}}}}}""" },
        { "replicasets", $$$$"""{"spec":{"selector":{"matchLabels":{"app":"a"}},"template":{{{{Template}}}}}}""" },
        { "daemonsets", $$$$"""{"spec":{"selector":{"matchLabels":{"app":"a"}},"template":{{{{Template}}}}}}""" },
        { "statefulsets", $$$$"""{"spec":{"serviceName":"s","selector":{"matchLabels":{"app":"a"}},"template":{{{{Template}}}}}}""" },
        { "jobs", """{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"a:1"}]}}}}""" },
        { "cronjobs", """
            {"spec":{"schedule":"*/5 * * * mon-fri","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never",
            "containers":[{"name":"c","image":"a:1"}]}}}}}}
            """ },
        { "roles", """{"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}""" },
        { "clusterroles", """{"rules":[{"verbs":["get"],"nonResourceURLs":["/healthz"]}]}""" },
        { "clusterrolebindings", """{"roleRef":{"kind":"ClusterRole","name":"a"},"subjects":[{"kind":"User","name":"u"}]}""" },
        { "rolebindings", """{"roleRef":{"kind":"Role","name":"a"},"subjects":[{"kind":"ServiceAccount","name":"u","namespace":"d"}]}""" },
        { "priorityclasses", """{"value":1000}""" },
        { "runtimeclasses", """{"handler":"runc"}""" },
        { "poddisruptionbudgets", """{"spec":{"minAvailable":"50%","selector":{"matchLabels":{"a":"b"}}}}""" },
        { "endpointslices", """{"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"port":80}]}""" },
        { "controllerrevisions", """{"revision":1,"data":{}}""" },
    };

    public static TheoryData<string, string, string> Faults { get; } = new()
    {
        { "pods", "{}", "spec.containers: Required value" },
        { "pods", """{"spec":{"containers":[{"name":"c"}]}}""", "spec.containers[0].image: Required value" },
        { "pods", $$$$"""{"spec":{"containers":[{{{{Container}}}},{{{{Container}}}}]}}""", "spec.containers[1].name: Duplicate value: \"c\"" },
        { "pods", """{"spec":{"containers":[{"name":"c","image":"a","ports":[{"containerPort":70000}]}]}}""",
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive" },
        { "pods", """{"spec":{"containers":[{"name":"c","image":"a","volumeMounts":[{"name":"v","mountPath":"/v"}]}]}}""",
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"" },
        { "pods", """{"spec":{"containers":[{"name":"c","image":"a","resources":{"requests":{"cpu":"2"},"limits":{"cpu":"1"}}}]}}""",
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1" },
        { "pods", """{"spec":{"containers":[{"name":"c","image":"a","livenessProbe":{}}]}}""",
            "spec.containers[0].livenessProbe: Required value: must specify a handler type" },
        { "pods", $$$$"""{"spec":{"restartPolicy":"Sometimes","containers":[{{{{Container}}}}]}}""",
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"" },
        { "pods", """{"spec":{"initContainers":[{"name":"i","image":"a","livenessProbe":{"exec":{"command":["x"]}}}],"containers":[{"name":"c","image":"a"}]}}""",
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always" },
        { "configmaps", """{"data":{"a b":"c"}}""",
            "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
            + "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')" },
        { "secrets", """{"type":"kubernetes.io/tls"}""", "data[tls.crt]: Required value" },
        { "services", """{"spec":{}}""", "spec.ports: Required value" },
        { "nodes", """{"spec":{"taints":[{"key":"a"}]}}""", "metadata.taints[0].effect: Required value" },
        { "deployments", $$$$"""{"spec":{"template":{{{{Template}}}}}}""", "spec.selector: Required value" },
        { "deployments", $$$$"""{"spec":{"selector":{"matchLabels":{"app":"b"}},"template":{{{{Template}}}}}}""",
            "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`" },
        { "deployments", $$$$"""{"spec":{"strategy":{"type":"Recreate","rollingUpdate":{}},"selector":{"matchLabels":{"app":"a"}},"template":{{{{Template}}}}}}""",
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'" },
        { "jobs", $$$$"""{"spec":{"template":{{{{Template}}}}}}""",
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"" },
        { "cronjobs", """{"spec":{"schedule":"* *"}}""", "spec.schedule: Invalid value: \"* *\": expected exactly 5 fields, found 2: [* *]" },
        { "roles", """{"rules":[{"apiGroups":[""],"resources":["pods"]}]}""", "rules[0].verbs: Required value: verbs must contain at least one value" },
        { "priorityclasses", """{"value":1000000001}""", "value: Forbidden: maximum allowed value of a user defined priority is 1000000000" },
        { "endpointslices", "{}", "addressType: Required value" },
        { "leases", """{"spec":{"leaseDurationSeconds":0}}""", "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0" },
        { "events", """{"involvedObject":{"namespace":"other"}}""", "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace" },
    };

    [Theory]
    [MemberData(nameof(ValidObjects))]
    public void A_valid_object_passes_and_defaulting_twice_changes_nothing_more(string plural, string json)
    {
        ResourceDefinition resource = Find(plural);
        JsonObject created = Create(resource, json);
        Assert.Empty((resource.Validate?.Invoke(created) ?? []).Select(e => e.ToString()));
        string once = created.ToJsonString();
        resource.Default?.Invoke(created);
        Assert.Equal(once, created.ToJsonString());
        Assert.Empty((resource.ValidateUpdate?.Invoke(created, Parse(once)) ?? []).Select(e => e.ToString()));
        using JsonDocument document = JsonDocument.Parse(once);
        if (resource.Row is { } row)
        {
            Assert.Equal(resource.Columns!.Count, row(document.RootElement, Now).Length);
        }

        foreach (Func<JsonElement, string> field in resource.SelectableFields.Values)
        {
            Assert.NotNull(field(document.RootElement));
        }
    }

    [Theory]
    [MemberData(nameof(Faults))]
    public void A_fault_is_told_in_upstreams_words(string plural, string json, string expected)
    {
        ResourceDefinition resource = Find(plural);
        JsonObject created = Create(resource, json);
        Assert.Contains(expected, resource.Validate!(created).Select(e => e.ToString()));
    }

    [Fact]
    public void A_pod_gets_upstreams_defaults()
    {
        JsonObject pod = Create(Find("pods"), """{"spec":{"containers":[{"name":"c","image":"nginx","resources":{"limits":{"cpu":"0.5","memory":"1024Mi"}}}]}}""");
        JsonObject expected = Parse("""
            {"containers":[{"name":"c","image":"nginx","resources":{"limits":{"cpu":"500m","memory":"1Gi"},"requests":{"cpu":"500m","memory":"1Gi"}},
            "terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"Always"}],
            "restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},
            "schedulerName":"default-scheduler","enableServiceLinks":true}
            """);
        Assert.True(JsonNode.DeepEquals(expected, pod["spec"]), pod["spec"]!.ToJsonString());
        Assert.Equal("""{"phase":"Pending","qosClass":"Guaranteed"}""", pod["status"]!.ToJsonString());
    }

    [Fact]
    public void An_update_of_a_pod_may_change_the_image_and_not_the_name_of_a_volume()
    {
        ResourceDefinition pods = Find("pods");
        JsonObject old = Create(pods, $$$$"""{"spec":{"containers":[{{{{Container}}}}]}}""");
        JsonObject image = old.DeepClone().AsObject();
        image["spec"]!["containers"]![0]!["image"] = "nginx:2";
        Assert.Empty(pods.ValidateUpdate!(image, old));
        JsonObject command = old.DeepClone().AsObject();
        command["spec"]!["containers"]![0]!["command"] = new JsonArray("sh");
        Assert.StartsWith(
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,", pods.ValidateUpdate(command, old).Single().ToString(),
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_generation_counts_changes_of_the_spec_and_not_of_the_status()
    {
        ResourceDefinition deployments = Find("deployments");
        JsonObject old = Create(deployments, $$$$"""{"spec":{"selector":{"matchLabels":{"app":"a"}},"template":{{{{Template}}}}}}""");
        JsonObject updated = old.DeepClone().AsObject();
        updated["status"] = new JsonObject { ["replicas"] = 9 };
        deployments.PrepareForUpdate!(updated, old, Facts);
        Assert.Equal(1, updated["metadata"]!["generation"]!.GetValue<long>());
        Assert.Equal("{}", updated["status"]!.ToJsonString());
        updated["spec"]!["replicas"] = 3;
        deployments.PrepareForUpdate(updated, old, Facts);
        Assert.Equal(2, updated["metadata"]!["generation"]!.GetValue<long>());
    }

    [Fact]
    public void A_selector_of_a_deployment_is_immutable()
    {
        ResourceDefinition deployments = Find("deployments");
        JsonObject old = Create(deployments, $$$$"""{"spec":{"selector":{"matchLabels":{"app":"a"}},"template":{{{{Template}}}}}}""");
        JsonObject updated = old.DeepClone().AsObject();
        updated["spec"]!["selector"]!["matchLabels"]!["app"] = "b";
        Assert.Equal(
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable",
            deployments.ValidateUpdate!(updated, old).Single().ToString());
    }

    [Fact]
    public void The_scale_of_a_deployment_reads_and_writes_its_replicas()
    {
        JsonObject deployment = Create(Find("deployments"), $$$$"""{"spec":{"selector":{"matchLabels":{"app":"a"}},"template":{{{{Template}}}}}}""");
        SubresourceDefinition scale = Find("deployments").Subresources.Single(s => s.Name == "scale");
        JsonObject view = scale.View!(deployment);
        Assert.Equal("app=a", view["status"]!["selector"]!.GetValue<string>());
        view["spec"] = new JsonObject { ["replicas"] = 5 };
        scale.Merge!(deployment, view);
        Assert.Equal(5, deployment["spec"]!["replicas"]!.GetValue<long>());
    }

    [Fact]
    public void An_event_keeps_its_fields_through_both_groups()
    {
        ResourceDefinition served = BuiltinResources.All.Single(r => r.Plural == "events" && r.Group == "events.k8s.io");
        JsonObject e = Parse("""{"apiVersion":"v1","message":"m","involvedObject":{"name":"p"},"source":{"component":"c"},"count":2}""");
        string before = e.ToJsonString();
        served.FromStorage!(e);
        Assert.Equal("m", e["note"]!.GetValue<string>());
        Assert.Equal("events.k8s.io/v1", e["apiVersion"]!.GetValue<string>());
        served.ToStorage!(e);
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(before), e));
    }

    [Theory]
    [InlineData("""{"phase":"Pending"}""", "0/1", "Pending", "0")]
    [InlineData("""{"phase":"Running","containerStatuses":[{"name":"c","ready":true,"restartCount":0,"state":{"running":{}}}]}""", "1/1", "Running", "0")]
    [InlineData("""
        {"phase":"Running","containerStatuses":[{"name":"c","restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}},
        "lastState":{"terminated":{"exitCode":1,"finishedAt":"2026-01-02T02:59:05Z"}}}]}
        """, "0/1", "CrashLoopBackOff", "3 (5m ago)")]
    [InlineData("""{"phase":"Succeeded","containerStatuses":[{"name":"c","state":{"terminated":{"reason":"Completed","exitCode":0}}}]}""",
        "0/1", "Completed", "0")]
    [InlineData("""{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":2}}}]}""", "0/1", "Init:ExitCode:2", "0")]
    [InlineData("""{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"running":{}}}]}""", "0/1", "Init:0/0", "0")]
    public void A_pods_row_says_where_it_stands(string status, string ready, string word, string restarts)
    {
        using JsonDocument pod = JsonDocument.Parse(
            $$$$"""{"metadata":{"name":"p","creationTimestamp":"2026-01-02T03:00:05Z"},"spec":{"containers":[{{{{Container}}}}]},"status":{{{{status}}}}}""");
        object?[] row = Find("pods").Row!(pod.RootElement, Now);
        Assert.Equal([ready, word, restarts, "4m"], row[1..5]);
    }

    [Theory]
    [InlineData(-5, "<invalid>")]
    [InlineData(0, "0s")]
    [InlineData(119, "119s")]
    [InlineData(120, "2m")]
    [InlineData(185, "3m5s")]
    [InlineData(3600 * 3, "3h")]
    [InlineData((3600 * 3) + 300, "3h5m")]
    [InlineData(3600 * 47, "47h")]
    [InlineData(3600 * 49, "2d1h")]
    [InlineData(86400L * 800, "2y70d")]
    public void A_duration_reads_as_kubectl_shows_it(long seconds, string expected) =>
        Assert.Equal(expected, HumanDuration.Format(TimeSpan.FromSeconds(seconds)));

    private static RequestFacts Facts => new("default", "tester", Now);

    private static ResourceDefinition Find(string plural) => BuiltinResources.All.First(r => r.Plural == plural);

    private static JsonObject Parse(string json) => JsonNode.Parse(json)!.AsObject();

    private static JsonObject Create(ResourceDefinition resource, string json)
    {
        JsonObject o = Parse(json);
        JsonObject metadata = new() { ["name"] = "x", ["uid"] = "u" };
        if (resource.Namespaced)
        {
            metadata["namespace"] = "default";
        }

        o["metadata"] = metadata;
        resource.Default?.Invoke(o);
        resource.PrepareForCreate?.Invoke(o, Facts);
        return o;
    }
}
