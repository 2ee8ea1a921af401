using System.Text.Json.Nodes;
using Xunit;

namespace Kapell.Conformance.Kube;

/// <summary>Every kind beside those with tests of their own: made, shown, changed, and taken away.</summary>
public abstract class KindsTests(ClusterFixture cluster)
{
    private const string Table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    private const string Template = """{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}""";
    private readonly ApiClient _api = cluster.Admin;

    /// <summary>Path (NS stands for a namespace), body without metadata, columns always shown.</summary>
    public static TheoryData<string, string, string> Kinds { get; } = new()
    {
        { "api/v1/namespaces/NS/secrets", """{"stringData":{"a":"b"}}""", "Name,Type,Data,Age" },
        { "api/v1/namespaces/NS/serviceaccounts", "{}", "Name,Secrets,Age" },
        { "api/v1/namespaces/NS/services", """{"spec":{"ports":[{"port":80}]}}""", "Name,Type,Cluster-IP,External-IP,Port(s),Age" },
        { "api/v1/namespaces/NS/endpoints", "{}", "Name,Endpoints,Age" },
        { "api/v1/namespaces/NS/limitranges", """{"spec":{"limits":[{"type":"Container","max":{"cpu":"1"}}]}}""", "Name,Created At" },
        { "api/v1/namespaces/NS/resourcequotas", """{"spec":{"hard":{"pods":"1"}}}""", "Name,Request,Limit,Age" },
        { "api/v1/namespaces/NS/podtemplates", $$$"""{"template":{{{Template}}}}""", "Name,Containers,Images,Pod Labels" },
        { "api/v1/namespaces/NS/replicationcontrollers", $$$$"""{"spec":{"template":{{{{Template}}}}}}""", "Name,Desired,Current,Ready,Age" },
        { "api/v1/namespaces/NS/persistentvolumeclaims", """{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}""",
            "Name,Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age" },
        { "api/v1/persistentvolumes", """{"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/v"}}}""",
            "Name,Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,VolumeAttributesClass,Reason,Age" },
        { "api/v1/nodes", "{}", "Name,Status,Roles,Age,Version" },
        { "apis/apps/v1/namespaces/NS/replicasets", $$$$"""{"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{{{{Template}}}}}}""",
            "Name,Desired,Current,Ready,Age" },
        { "apis/apps/v1/namespaces/NS/daemonsets", $$$$"""{"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{{{{Template}}}}}}""",
            "Name,Desired,Current,Ready,Up-to-date,Available,Node Selector,Age" },
        { "apis/apps/v1/namespaces/NS/statefulsets", $$$$"""{"spec":{"serviceName":"s","selector":{"matchLabels":{"a":"b"}},"template":{{{{Template}}}}}}""",
            "Name,Ready,Age" },
        { "apis/apps/v1/namespaces/NS/controllerrevisions", """{"revision":1,"data":{}}""", "Name,Controller,Revision,Age" },
        { "apis/batch/v1/namespaces/NS/jobs", """{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}""",
            "Name,Status,Completions,Duration,Age" },
        { "apis/batch/v1/namespaces/NS/cronjobs", """
            {"spec":{"schedule":"@daily","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}}
            """, "Name,Schedule,Timezone,Suspend,Active,Last Schedule,Age" },
        { "apis/autoscaling/v2/namespaces/NS/horizontalpodautoscalers", """{"spec":{"maxReplicas":3,"scaleTargetRef":{"kind":"Deployment","name":"d"}}}""",
            "Name,Reference,Targets,MinPods,MaxPods,Replicas,Age" },
        { "apis/policy/v1/namespaces/NS/poddisruptionbudgets", """{"spec":{"minAvailable":1}}""", "Name,Min Available,Max Unavailable,Allowed Disruptions,Age" },
        { "apis/networking.k8s.io/v1/namespaces/NS/ingresses", """{"spec":{"defaultBackend":{"service":{"name":"s","port":{"number":80}}}}}""",
            "Name,Class,Hosts,Address,Ports,Age" },
        { "apis/networking.k8s.io/v1/namespaces/NS/networkpolicies", """{"spec":{"podSelector":{}}}""", "Name,Pod-Selector,Age" },
        { "apis/networking.k8s.io/v1/ingressclasses", """{"spec":{"controller":"a.io/b"}}""", "Name,Controller,Parameters,Age" },
        { "apis/storage.k8s.io/v1/storageclasses", """{"provisioner":"a.io/b"}""",
            "Name,Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age" },
        { "apis/storage.k8s.io/v1/csidrivers", "{}",
            "Name,AttachRequired,PodInfoOnMount,StorageCapacity,TokenRequests,RequiresRepublish,Modes,Age" },
        { "apis/storage.k8s.io/v1/csinodes", "{}", "Name,Drivers,Age" },
        { "apis/storage.k8s.io/v1/volumeattachments", """{"spec":{"attacher":"a.io","nodeName":"n","source":{"persistentVolumeName":"v"}}}""",
            "Name,Attacher,PV,Node,Attached,Age" },
        { "apis/discovery.k8s.io/v1/namespaces/NS/endpointslices", """{"addressType":"IPv4","endpoints":[]}""", "Name,AddressType,Ports,Endpoints,Age" },
        { "apis/events.k8s.io/v1/namespaces/NS/events", """
            {"eventTime":"2026-01-02T03:04:05.000001Z","type":"Normal","reason":"Seen","action":"Look","reportingController":"a.io/b","reportingInstance":"i",
             "note":"n","regarding":{"kind":"Pod","name":"p","namespace":"default"}}
            """, "Last Seen,Type,Reason,Object,Message" },
        { "apis/coordination.k8s.io/v1/namespaces/NS/leases", """{"spec":{"holderIdentity":"me"}}""", "Name,Holder,Age" },
        { "apis/scheduling.k8s.io/v1/priorityclasses", """{"value":5}""", "Name,Value,Global-Default,Age" },
        { "apis/node.k8s.io/v1/runtimeclasses", """{"handler":"runc"}""", "Name,Handler,Age" },
        { "apis/rbac.authorization.k8s.io/v1/namespaces/NS/roles", """{"rules":[]}""", "Name,Created At" },
        { "apis/rbac.authorization.k8s.io/v1/clusterroles", """{"rules":[]}""", "Name,Created At" },
    };

    [Fact]
    public async Task Events_of_the_newer_group_are_strict_and_seen_through_both()
    {
        string ns = await cluster.NewNamespace();
        string events = $"/apis/events.k8s.io/v1/namespaces/{ns}/events";
        (await _api.Post(events, """{"metadata":{"name":"e"},"reason":"r","type":"Odd","deprecatedCount":3,"regarding":{"namespace":"NS"}}"""
            .Replace("NS", ns, StringComparison.Ordinal))).Is(422).Because(
            "FieldValueRequired|eventTime|Required value", "FieldValueInvalid|type|Invalid value: \"\": has invalid value: Odd",
            "FieldValueInvalid|count|Invalid value: \"\": needs to be unset");
        (await _api.Post($"/api/v1/namespaces/{ns}/events", $$$"""
            {"metadata":{"name":"old"},"involvedObject":{"namespace":"{{{ns}}}","name":"p"},"reason":"r","message":"m","count":3}
            """)).Is(201);
        Answer seen = (await _api.Get(events + "/old")).Is(200);
        Assert.Equal(("m", "3", "p", "events.k8s.io/v1"),
            (seen["note"], seen["deprecatedCount"], seen["regarding.name"], seen["apiVersion"]));
        (await _api.Patch(events + "/old", ApiClient.MergePatch, """{"reason":"other"}""")).Fails(422, "Invalid",
            "Event.events.k8s.io \"old\" is invalid: reason: Invalid value: \"other\": field is immutable");
    }

    [Fact]
    public async Task What_may_not_change_is_refused()
    {
        string ns = await cluster.NewNamespace();
        string deployments = $"/apis/apps/v1/namespaces/{ns}/deployments";
        (await _api.Post(deployments, Workloads.Deployment("web", "nginx"))).Is(201);
        Answer refused = (await _api.Patch(deployments + "/web", ApiClient.MergePatch,
            """{"spec":{"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}}}}}""")).Is(422);
        refused.About("Deployment", "apps", "web").Because(
            "FieldValueInvalid|spec.selector|Invalid value: {\"matchLabels\":{\"app\":\"x\"}}: field is immutable");
        (await _api.Post($"/api/v1/namespaces/{ns}/secrets", """{"metadata":{"name":"s"},"immutable":true,"stringData":{"a":"b"}}""")).Is(201);
        (await _api.Patch($"/api/v1/namespaces/{ns}/secrets/s", ApiClient.MergePatch, """{"stringData":{"a":"c"}}""")).Fails(422, "Invalid",
            "Secret \"s\" is invalid: data: Forbidden: field is immutable when `immutable` is set");
        (await _api.Post($"/api/v1/namespaces/{ns}/persistentvolumeclaims",
            """{"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}""")).Is(201);
        Answer claim = (await _api.Patch($"/api/v1/namespaces/{ns}/persistentvolumeclaims/c", ApiClient.MergePatch, """{"spec":{"accessModes":["ReadWriteMany"]}}""")).Is(422);
        Assert.StartsWith("PersistentVolumeClaim \"c\" is invalid: spec: Forbidden: spec is immutable after creation except resources.requests and "
            + "volumeAttributesClassName for bound claims", claim["message"], StringComparison.Ordinal);
        Answer service = (await _api.Post($"/api/v1/namespaces/{ns}/services", """{"metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}}""")).Is(201);
        Assert.StartsWith("10.96.", service["spec.clusterIP"], StringComparison.Ordinal);
        (await _api.Patch($"/api/v1/namespaces/{ns}/services/s", ApiClient.MergePatch, """{"spec":{"clusterIP":"10.96.200.200","clusterIPs":["10.96.200.200"]}}""")).Is(422)
            .Because("FieldValueInvalid|spec.clusterIPs[0]|Invalid value: \"10.96.200.200\": may not change once set");
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Each_kind_is_made_shown_changed_and_taken_away(string path, string body, string columns)
    {
        string list = "/" + path.Replace("NS", await cluster.NewNamespace(), StringComparison.Ordinal);
        JsonObject obj = JsonNode.Parse(body)!.AsObject();
        obj["metadata"] = new JsonObject { ["name"] = "conformance" };
        Answer made = (await _api.Post(list + "?fieldValidation=Strict", obj.ToJsonString())).Is(201);
        (await _api.Post(list, obj.ToJsonString())).Is(409);
        Answer table = (await _api.Get(list + "/conformance", Table)).Is(200);
        Assert.Equal(columns, string.Join(',', ((JsonArray)table.At("columnDefinitions")!)
            .Where(c => (int)c!["priority"]! == 0).Select(c => c!["name"]!.ToString())));
        Assert.Equal(((JsonArray)table.At("columnDefinitions")!).Count, ((JsonArray)table.At("rows.0.cells")!).Count);
        Answer same = (await _api.Put(list + "/conformance", made.Body)).Is(200);
        Assert.Equal(made.Version, same.Version);
        Answer labelled = (await _api.Patch(list + "/conformance", ApiClient.MergePatch, """{"metadata":{"labels":{"x":"y"}}}""")).Is(200);
        Assert.Equal("y", labelled["metadata.labels.x"]);
        Answer applied = (await _api.Apply(list + "/conformance", "me",
            $$$$"""{"apiVersion":"{{{{made["apiVersion"]}}}}","kind":"{{{{made["kind"]}}}}","metadata":{"name":"conformance","annotations":{"p":"q"}}}""")).Is(200);
        Assert.Equal("q", applied["metadata.annotations.p"]);
        Assert.Contains("conformance", (await _api.Get(list + "?labelSelector=x%3Dy")).Is(200).Names());
        (await _api.Delete(list + "/conformance")).Is(200);
        (await _api.Get(list + "/conformance")).Is(404);
    }
}
