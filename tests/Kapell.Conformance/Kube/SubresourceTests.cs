using System.Text;
using System.Text.Json.Nodes;
using Xunit;

namespace Kapell.Conformance.Kube;

/// <summary>status, scale, binding, eviction, token.</summary>
public abstract class SubresourceTests(ClusterFixture cluster)
{
    private readonly ApiClient _api = cluster.Admin;

    [Fact]
    public async Task Status_and_spec_do_not_touch_each_other()
    {
        string deployments = $"/apis/apps/v1/namespaces/{await cluster.NewNamespace()}/deployments";
        Answer made = (await _api.Post(deployments, Workloads.Deployment("web", "nginx").Replace("\"spec\":{\"replicas\"", "\"status\":{\"replicas\":7},\"spec\":{\"replicas\"", StringComparison.Ordinal))).Is(201);
        Assert.Equal("{}", made.At("status")!.ToJsonString());
        Assert.Equal("1", made["metadata.generation"]);
        Answer status = (await _api.Patch(deployments + "/web/status", ApiClient.MergePatch,
            """{"metadata":{"annotations":{"x":"y"}},"spec":{"replicas":5},"status":{"observedGeneration":1,"replicas":1}}""")).Is(200);
        Assert.Equal(("1", "1", "1", "y"), (status["spec.replicas"], status["status.replicas"], status["metadata.generation"], status["metadata.annotations.x"]));
        Answer spec = (await _api.Patch(deployments + "/web", ApiClient.MergePatch, """{"spec":{"replicas":2},"status":{"replicas":9}}""")).Is(200);
        Assert.Equal(("2", "1", "2"), (spec["spec.replicas"], spec["status.replicas"], spec["metadata.generation"]));
        Answer label = (await _api.Patch(deployments + "/web", ApiClient.MergePatch, """{"metadata":{"labels":{"a":"b"}}}""")).Is(200);
        Assert.Equal("2", label["metadata.generation"]);
        Assert.Equal("Deployment", (await _api.Get(deployments + "/web/status")).Is(200)["kind"]);
        (await _api.Patch(deployments + "/web/status", ApiClient.MergePatch, """{"status":{"replicas":-1}}""")).Fails(422, "Invalid",
            "Deployment.apps \"web\" is invalid: status.replicas: Invalid value: -1: must be greater than or equal to 0");
    }

    [Fact]
    public async Task Scale_is_a_view_of_the_workload()
    {
        string deployments = $"/apis/apps/v1/namespaces/{await cluster.NewNamespace()}/deployments";
        (await _api.Post(deployments, Workloads.Deployment("web", "nginx"))).Is(201);
        Answer scale = (await _api.Get(deployments + "/web/scale")).Is(200);
        Assert.Equal(("Scale", "autoscaling/v1", "1", "app=web"), (scale["kind"], scale["apiVersion"], scale["spec.replicas"], scale["status.selector"]));
        JsonObject wanted = scale.Json.AsObject();
        wanted["spec"]!["replicas"] = 4;
        Answer changed = (await _api.Put(deployments + "/web/scale", wanted.ToJsonString())).Is(200);
        Assert.Equal("4", changed["spec.replicas"]);
        Assert.Equal("3", (await _api.Patch(deployments + "/web/scale", ApiClient.MergePatch, """{"spec":{"replicas":3}}""")).Is(200)["spec.replicas"]);
        Answer web = (await _api.Get(deployments + "/web")).Is(200);
        Assert.Equal(("3", "3"), (web["spec.replicas"], web["metadata.generation"]));
        (await _api.Put(deployments + "/web/scale", wanted.ToJsonString())).Is(409);
        (await _api.Patch(deployments + "/web/scale", ApiClient.MergePatch, """{"spec":{"replicas":-1}}""")).Fails(422, "Invalid",
            "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0");
        (await _api.Get(deployments + "/none/scale")).Fails(404, "NotFound", "deployments.apps \"none\" not found");
    }

    [Fact]
    public async Task A_binding_puts_a_pod_on_a_node_once()
    {
        string pods = $"/api/v1/namespaces/{await cluster.NewNamespace()}/pods";
        (await _api.Post(pods, Pods.Body("a"))).Is(201);
        const string Binding = """{"apiVersion":"v1","kind":"Binding","metadata":{"name":"a"},"target":{"kind":"Node","name":"n1"}}""";
        Answer bound = (await _api.Post(pods + "/a/binding", Binding)).Is(201);
        Assert.Equal(("Status", "Success"), (bound["kind"], bound["status"]));
        Answer pod = (await _api.Get(pods + "/a")).Is(200);
        Assert.Equal("n1", pod["spec.nodeName"]);
        Assert.Contains((JsonArray)pod.At("status.conditions")!, c => c!["type"]!.ToString() == "PodScheduled" && c["status"]!.ToString() == "True");
        (await _api.Post(pods + "/a/binding", Binding)).Fails(409, "Conflict",
            "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"n1\"");
        (await _api.Post(pods + "/none/binding", Binding.Replace("\"a\"", "\"none\"", StringComparison.Ordinal))).Is(404);
        (await _api.Delete(pods + "/a/binding")).Is(405);
    }

    [Fact]
    public async Task An_eviction_respects_the_budget()
    {
        string ns = await cluster.NewNamespace();
        string pods = $"/api/v1/namespaces/{ns}/pods";
        (await _api.Post($"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets",
            """{"metadata":{"name":"b"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"x"}}}}""")).Is(201);
        (await _api.Patch($"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets/b/status", ApiClient.MergePatch,
            """{"status":{"observedGeneration":1,"disruptionsAllowed":0,"currentHealthy":1,"desiredHealthy":1,"expectedPods":1}}""")).Is(200);
        (await _api.Post(pods, Pods.Body("a", node: "n1", labels: """{"app":"x"}"""))).Is(201);
        (await _api.Patch(pods + "/a/status", ApiClient.MergePatch, """{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}""")).Is(200);
        const string Eviction = """{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"a"},"deleteOptions":{"gracePeriodSeconds":3}}""";
        (await _api.Post(pods + "/a/eviction", Eviction)).Fails(429, "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.")
            .Because("DisruptionBudget||The disruption budget b needs 1 healthy pods and has 1 currently");
        (await _api.Patch($"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets/b/status", ApiClient.MergePatch,
            """{"status":{"disruptionsAllowed":1,"currentHealthy":2,"expectedPods":2}}""")).Is(200);
        // A pod that is not ready may go while the budget is healthy.
        (await _api.Post(pods, Pods.Body("sick", node: "n1", labels: """{"app":"x"}"""))).Is(201);
        (await _api.Patch(pods + "/sick/status", ApiClient.MergePatch, """{"status":{"phase":"Running"}}""")).Is(200);
        (await _api.Post(pods + "/sick/eviction", Eviction.Replace("\"a\"", "\"sick\"", StringComparison.Ordinal))).Is(201);
        Assert.Equal("1", (await _api.Get($"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets/b"))["status.disruptionsAllowed"]);
        (await _api.Post(pods + "/a/eviction", Eviction)).Is(201);
        Answer pod = (await _api.Get(pods + "/a")).Is(200);
        Assert.Equal(("3", "2"), (pod["metadata.deletionGracePeriodSeconds"], pod["metadata.generation"]));
        Assert.Equal("0", (await _api.Get($"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets/b"))["status.disruptionsAllowed"]);
    }

    [Fact]
    public async Task A_token_of_a_service_account_is_a_credential()
    {
        string ns = await cluster.NewNamespace();
        Answer issued = (await _api.Post($"/api/v1/namespaces/{ns}/serviceaccounts/default/token",
            """{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":600}}""")).Is(201);
        string token = issued["status.token"];
        string claims = Encoding.UTF8.GetString(System.Buffers.Text.Base64Url.DecodeFromChars(token.Split('.')[1]));
        Assert.Contains($"\"sub\":\"system:serviceaccount:{ns}:default\"", claims, StringComparison.Ordinal);
        Answer refused = (await cluster.Anonymous.Send("GET", "/api/v1/pods", null, headers: ("Authorization", "Bearer " + token))).Is(403);
        Assert.Equal($"pods is forbidden: User \"system:serviceaccount:{ns}:default\" cannot list resource \"pods\" in API group \"\" at the cluster scope", refused["message"]);
        (await _api.Post($"/api/v1/namespaces/{ns}/serviceaccounts/default/token", """{"spec":{"expirationSeconds":1}}""")).Fails(422, "Invalid",
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes");
        (await cluster.Anonymous.Send("GET", "/api/v1/pods", null, headers: ("Authorization", "Bearer " + token[..^4] + "AAAA"))).Fails(401, "Unauthorized", "Unauthorized");
    }

    [Fact]
    public async Task Pods_get_their_defaults_and_what_admission_adds()
    {
        string ns = await cluster.NewNamespace();
        Answer pod = (await _api.Post($"/api/v1/namespaces/{ns}/pods", Pods.Body("a"))).Is(201);
        Assert.Equal(("Always", "ClusterFirst", "default-scheduler", "30", "default", "Always", "/dev/termination-log", "File"),
            (pod["spec.restartPolicy"], pod["spec.dnsPolicy"], pod["spec.schedulerName"], pod["spec.terminationGracePeriodSeconds"], pod["spec.serviceAccountName"],
                pod["spec.containers.0.imagePullPolicy"], pod["spec.containers.0.terminationMessagePath"], pod["spec.containers.0.terminationMessagePolicy"]));
        Assert.Equal(("Pending", "BestEffort", "0", "true"), (pod["status.phase"], pod["status.qosClass"], pod["spec.priority"], pod["spec.enableServiceLinks"]));
        Assert.StartsWith("kube-api-access-", pod["spec.volumes.0.name"], StringComparison.Ordinal);
        Assert.Equal("/var/run/secrets/kubernetes.io/serviceaccount", pod["spec.containers.0.volumeMounts.0.mountPath"]);
        Assert.Equal(2, ((JsonArray)pod.At("spec.tolerations")!).Count);
        (await _api.Patch($"/api/v1/namespaces/{ns}/pods/a", ApiClient.MergePatch, """{"spec":{"terminationGracePeriodSeconds":5}}""")).Is(422);
        (await _api.Patch($"/api/v1/namespaces/{ns}/pods/a", ApiClient.StrategicPatch, """{"spec":{"containers":[{"name":"c","image":"nginx:2"}]}}""")).Is(200);
        (await _api.Post($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"b"},"spec":{}}""")).Fails(422, "Invalid",
            "Pod \"b\" is invalid: spec.containers: Required value").Because("FieldValueRequired|spec.containers|Required value");
        (await _api.Post($"/api/v1/namespaces/{ns}/pods",
            """{"metadata":{"name":"b"},"spec":{"serviceAccountName":"ghost","containers":[{"name":"c","image":"x"}]}}""")).Fails(403, "Forbidden",
            $"pods \"b\" is forbidden: error looking up service account {ns}/ghost: serviceaccount \"ghost\" not found");
    }
}
