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
        { "persistentvolumeclaims", """{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1024Mi"}}}}""" },
        { "persistentvolumes", """{"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/v"}}}""" },
        { "storageclasses", """{"provisioner":"acme.io/disk"}""" },
        { "csidrivers", "{}" },
        { "csinodes", """{"spec":{"drivers":[{"name":"d.acme.io","nodeID":"n"}]}}""" },
        { "volumeattachments", """{"spec":{"attacher":"d.acme.io","nodeName":"n","source":{"persistentVolumeName":"v"}}}""" },
        { "ingresses", """
            {"spec":{"rules":[{"host":"*.example.com","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}}]}}
            """ },
        { "ingressclasses", """{"spec":{"controller":"acme.io/ingress"}}""" },
        { "networkpolicies", """{"spec":{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0/8"}}],"ports":[{"port":80}]}],"egress":[{}]}}""" },
        { "horizontalpodautoscalers", """{"spec":{"maxReplicas":3,"scaleTargetRef":{"kind":"Deployment","name":"d"},"behavior":{}}}""" },
        { "resourcequotas", """{"spec":{"hard":{"pods":"10","requests.cpu":"1000m","limits.memory":"1Gi"}}}""" },
        { "limitranges", """{"spec":{"limits":[{"type":"Container","max":{"cpu":"1"},"min":{"cpu":"100m"}}]}}""" },
        { "podtemplates", $$$$"""{"template":{{{{Template}}}}}""" },
        { "replicationcontrollers", $$$$"""{"spec":{"template":{{{{Template}}}}}}""" },
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
        { "pods", """{"spec":{"containers":[{"name":"c","image":" a "}]}}""",
            "spec.containers[0].image: Invalid value: \" a \": must not have leading or trailing whitespace" },
        { "pods", """{"spec":{"hostUsers":false,"hostNetwork":true,"containers":[{"name":"c","image":"a"}]}}""",
            "spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false" },
        { "pods", """{"spec":{"volumes":[{"name":"v","nfs":{"server":"s"}}],"containers":[{"name":"c","image":"a","volumeMounts":[{"name":"v","mountPath":"/v"}]}]}}""",
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"" },
        { "pods", """{"spec":{"volumes":[{"name":"v"}],"containers":[{"name":"c","image":"a","volumeMounts":[{"name":"v","mountPath":"/v","subPath":"/x"}]}]}}""",
            "spec.containers[0].volumeMounts.subPath: Invalid value: \"/x\": must be a relative path" },
        { "pods", """{"spec":{"containers":[{"name":"c","image":"a","envFrom":[{}]}]}}""",
            "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`" },
        { "pods", """{"spec":{"containers":[{"name":"c","image":"a","lifecycle":{"preStop":{"sleep":{"seconds":60}}}}]}}""",
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 60: must be non-negative and less than terminationGracePeriodSeconds (30)" },
        { "pods", """{"spec":{"dnsPolicy":"Never","containers":[{"name":"c","image":"a"}]}}""",
            "spec.dnsPolicy: Unsupported value: \"Never\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"" },
        { "services", """{"spec":{"type":"ExternalName","externalName":"a.b","ipFamilyPolicy":"SingleStack"}}""",
            "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services" },
        { "services", """{"spec":{"ports":[{"port":80,"nodePort":30000}]}}""", "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'" },
        { "services", """{"spec":{"ports":[{"port":80}],"externalIPs":["127.0.0.1"]}}""",
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)" },
        { "persistentvolumeclaims", "{}", "spec.accessModes: Required value: at least 1 access mode is required" },
        { "persistentvolumeclaims", """{"spec":{"accessModes":["Sometimes"]}}""",
            "spec.accessModes: Unsupported value: \"Sometimes\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"" },
        { "persistentvolumeclaims", """{"spec":{"accessModes":["ReadWriteOnce"]}}""", "spec.resources[storage]: Required value" },
        { "persistentvolumes", """{"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"]}}""", "spec: Required value: must specify a volume type" },
        { "storageclasses", "{}", "provisioner: Required value" },
        { "ingresses", """{"spec":{}}""", "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified" },
        { "ingresses", """{"spec":{"rules":[{"http":{"paths":[{"path":"a","pathType":"Exact","backend":{"service":{"name":"s","port":{"number":80}}}}]}}]}}""",
            "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path" },
        { "networkpolicies", """{"spec":{"podSelector":{},"ingress":[{"from":[{}]}]}}""", "spec.ingress[0].from[0]: Required value: must specify a peer" },
        { "horizontalpodautoscalers", """{"spec":{"maxReplicas":0,"scaleTargetRef":{"kind":"Deployment","name":"d"}}}""",
            "spec.maxReplicas: Invalid value: 0: must be greater than 0" },
        { "resourcequotas", """{"spec":{"hard":{"bananas":"1"}}}""", "spec.hard[bananas]: Invalid value: \"bananas\": must be a standard resource for quota" },
        { "limitranges", """{"spec":{"limits":[{"type":"Container","max":{"cpu":"1"},"min":{"cpu":"2"}}]}}""",
            "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1" },
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
    [InlineData("nodes", """
        {"metadata":{"name":"x","labels":{"node-role.kubernetes.io/control-plane":"","node-role.kubernetes.io/a":""}},"spec":{"unschedulable":true},
        "status":{"conditions":[{"type":"Ready","status":"True"}],"nodeInfo":{"kubeletVersion":"v1"}}}
        """,
        "x|Ready,SchedulingDisabled|a,control-plane|<unknown>|v1|<none>|<none>|<unknown>|<unknown>|<unknown>")]
    [InlineData("services", """
        {"metadata":{"name":"x"},"spec":{"type":"LoadBalancer","clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1"],"selector":{"b":"2","a":"1"},
        "ports":[{"port":80,"nodePort":30080,"protocol":"TCP"},{"port":53,"protocol":"UDP"}]},"status":{"loadBalancer":{}}}
        """,
        "x|LoadBalancer|10.0.0.1|<pending>|80:30080/TCP,53/UDP|<unknown>|a=1,b=2")]
    [InlineData("deployments", """
        {"metadata":{"name":"x"},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"b"}},
        "template":{"spec":{"containers":[{"name":"c","image":"i"},{"name":"d","image":"j"}]}}},"status":{"readyReplicas":2,"updatedReplicas":1}}
        """,
        "x|2/3|1|0|<unknown>|c,d|i,j|a=b")]
    [InlineData("jobs", """
        {"metadata":{"name":"x"},"spec":{"completions":3,"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}},
        "status":{"succeeded":3,"startTime":"2026-01-02T03:00:00Z","completionTime":"2026-01-02T03:01:05Z","conditions":[{"type":"Complete","status":"True"}]}}
        """,
        "x|Complete|3/3|65s|<unknown>|c|i|<none>")]
    [InlineData("cronjobs", """
        {"metadata":{"name":"x"},"spec":{"schedule":"* * * * *","suspend":true,"jobTemplate":{"spec":{"template":{"spec":{"containers":[]}}}}},
        "status":{"active":[{}],"lastScheduleTime":"2026-01-02T03:03:05Z"}}
        """, "x|* * * * *|<none>|True|1|60s|<unknown>|||<none>")]
    [InlineData("events", """
        {"metadata":{"name":"x"},"involvedObject":{"kind":"Pod","name":"p","fieldPath":"spec.containers{c}"},"type":"Normal","reason":"Pulled",
        "message":" done ","source":{"component":"kubelet","host":"n"},"firstTimestamp":"2026-01-02T02:04:05Z","lastTimestamp":"2026-01-02T03:04:00Z","count":4}
        """,
        "5s|Normal|Pulled|pod/p|spec.containers{c}|kubelet, n|done|60m|4|x")]
    [InlineData("persistentvolumeclaims", """
        {"metadata":{"name":"x"},"spec":{"volumeName":"v","storageClassName":"s","volumeMode":"Filesystem"},
        "status":{"phase":"Bound","capacity":{"storage":"1Gi"},"accessModes":["ReadWriteMany","ReadWriteOnce"]}}
        """,
        "x|Bound|v|1Gi|RWO,RWX|s|<unset>|<unknown>|Filesystem")]
    [InlineData("ingresses", """
        {"metadata":{"name":"x"},"spec":{"rules":[{"host":"a"},{"host":"b"},{"host":"c"},{"host":"d"}],"tls":[{}]},
        "status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}}}
        """, "x|<none>|a,b,c + 1 more...|1.2.3.4|80, 443|<unknown>")]
    [InlineData("horizontalpodautoscalers", """
        {"metadata":{"name":"x"},"spec":{"minReplicas":1,"maxReplicas":3,"scaleTargetRef":{"kind":"Deployment","name":"d"},
        "metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]},"status":{"currentReplicas":2}}
        """,
        "x|Deployment/d|cpu: <unknown>/80%|1|3|2|<unknown>")]
    [InlineData("resourcequotas", """{"metadata":{"name":"x"},"status":{"hard":{"pods":"10","limits.cpu":"2"},"used":{"pods":"1"}}}""",
        "x|pods: 1/10|limits.cpu: 0/2|<unknown>")]
    public void A_row_shows_what_kubectl_shows(string plural, string json, string cells)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        ResourceDefinition resource = Find(plural);
        Assert.Equal(cells, string.Join('|', resource.Row!(document.RootElement, Now).Select(c => c?.ToString())));
        Assert.Equal(resource.Columns!.Count, cells.Split('|').Length);
    }

    [Theory]
    [InlineData("deployments", """{"replicas":1,"readyReplicas":2}""", "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas")]
    [InlineData("deployments", """{"replicas":-1}""", "status.replicas: Invalid value: -1: must be greater than or equal to 0")]
    [InlineData("replicasets", """{"replicas":2,"readyReplicas":1,"availableReplicas":2}""",
        "status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas")]
    [InlineData("daemonsets", """{"numberReady":-1}""", "status.numberReady: Invalid value: -1: must be greater than or equal to 0")]
    [InlineData("poddisruptionbudgets", """{"expectedPods":-1}""", "status.expectedPods: Invalid value: -1: must be greater than or equal to 0")]
    [InlineData("services", """{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}}""",
        "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is \"LoadBalancer\"")]
    [InlineData("nodes", """{"addresses":[{"type":"A","address":"b"},{"type":"A","address":"b"}]}""",
        "status.addresses[1]: Duplicate value: {\"type\":\"A\",\"address\":\"b\"}")]
    [InlineData("pods", """{"podIPs":[{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]}""",
        "status.podIPs: Invalid value: [{\"ip\":\"10.0.0.1\"},{\"ip\":\"10.0.0.2\"}]: may specify no more than one IP for each IP family")]
    public void A_fault_of_a_status_is_told_in_upstreams_words(string plural, string status, string expected)
    {
        JsonObject updated = Parse($$$"""{"metadata":{"name":"x"},"spec":{},"status":{{{status}}}}""");
        SubresourceDefinition sub = Find(plural).Subresources.Single(s => s.Name == "status");
        Assert.Contains(expected, sub.ValidateUpdate!(updated, Parse("""{"metadata":{"name":"x"},"spec":{},"status":{}}""")).Select(e => e.ToString()));
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
