using System.Text.Json.Nodes;
using Kapell.Kubelet.Pods;
using Xunit;
using static Kapell.Kube.Tests.Kubelet.PodFixtures;

namespace Kapell.Kube.Tests.Kubelet;

public sealed class PodStatusTests
{
    public static TheoryData<string, int, int, bool, string> Phases => new()
    {
        { "Always", -1, -1, false, "Running" },
        { "Always", 0, 0, false, "Running" },
        { "OnFailure", 0, 0, false, "Succeeded" },
        { "OnFailure", 0, 1, false, "Running" },
        { "Never", 0, 0, false, "Succeeded" },
        { "Never", 0, 1, false, "Failed" },
        { "Never", -1, 1, false, "Running" },
        { "Always", 0, 0, true, "Succeeded" },
        { "Always", 0, 137, true, "Failed" },
    };

    [Theory]
    [MemberData(nameof(Phases))]
    public void The_phase_follows_the_containers_and_the_restart_policy(string policy, int a, int b, bool terminated, string phase)
    {
        Pod pod = Pod($$"""{"restartPolicy":"{{policy}}","containers":[{"name":"a","image":"busybox"},{"name":"b","image":"busybox"}]}""");
        JsonObject status = Build(pod, Runtime(Of("a", a), Of("b", b)), terminated);
        Assert.Equal(phase, (string?)status["phase"]);
        static ContainerInfo Of(string name, int code) => code < 0 ? Running(name) : Exited(name, code);
    }

    [Fact]
    public void A_pod_without_containers_yet_is_pending_and_says_what_it_waits_for()
    {
        JsonObject status = Build(WithInit(), RuntimePod.Nothing);
        Assert.Equal("Pending", (string?)status["phase"]);
        Assert.Equal("PodInitializing", (string?)status["containerStatuses"]![0]!["state"]!["waiting"]!["reason"]);
        Assert.Equal("containers with incomplete status: [i1 i2]", Condition(status, "Initialized", "message"));
        Assert.Equal("containers with unready status: [a]", Condition(status, "Ready", "message"));
    }

    [Fact]
    public void A_crash_loop_waits_with_the_last_end_in_last_state()
    {
        StatusInputs inputs = Inputs(Runtime(Exited("a", 3, restarts: 2))) with
        {
            Errors = new Dictionary<string, StartError> { ["a"] = new("CrashLoopBackOff", "back-off 20s restarting failed container=a pod=x") },
        };
        JsonNode container = PodStatusBuilder.Build(Simple(), inputs)["containerStatuses"]![0]!;
        Assert.Equal("CrashLoopBackOff", (string?)container["state"]!["waiting"]!["reason"]);
        Assert.Equal(3, (int)container["lastState"]!["terminated"]!["exitCode"]!);
        Assert.Equal(2, (int)container["restartCount"]!);
    }

    [Fact]
    public void A_container_with_a_readiness_probe_is_ready_only_when_the_probe_says_so()
    {
        Pod pod = Simple(extra: ""","readinessProbe":{"tcpSocket":{"port":80}}""");
        JsonObject before = PodStatusBuilder.Build(pod, Inputs(Runtime(Running("a"))));
        JsonObject after = PodStatusBuilder.Build(pod, Inputs(Runtime(Running("a"))) with { Verdicts = _ => new ProbeVerdicts(null, null, true) });
        Assert.Equal("False", Condition(before, "Ready", "status"));
        Assert.Equal("True", Condition(after, "Ready", "status"));
    }

    [Fact]
    public void A_condition_that_stays_keeps_its_transition_time()
    {
        Pod pod = Pod(
            """{"containers":[{"name":"a","image":"busybox"}]}""",
            status: """{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2020-01-01T00:00:00Z"}]}""");
        JsonObject status = PodStatusBuilder.Build(pod, Inputs(Runtime(Running("a"))) with { Previous = pod.Object.Status });
        Assert.Equal("2020-01-01T00:00:00Z", Condition(status, "Ready", "lastTransitionTime"));
        Assert.Equal("2026-11-23T12:00:00Z", Condition(status, "Initialized", "lastTransitionTime"));
    }

    [Fact]
    public void A_final_phase_never_changes_back()
    {
        Pod pod = Pod("""{"containers":[{"name":"a","image":"busybox"}]}""", status: """{"phase":"Failed"}""");
        JsonObject status = PodStatusBuilder.Build(pod, Inputs(Runtime(Running("a"))) with { Previous = pod.Object.Status });
        Assert.Equal("Failed", (string?)status["phase"]);
    }

    private static StatusInputs Inputs(RuntimePod runtime) =>
        new() { Runtime = runtime, Verdicts = NoVerdict, Now = Now, StartedAt = Now, HostIps = ["192.168.0.1"] };

    private static JsonObject Build(Pod pod, RuntimePod runtime, bool terminated = false) =>
        PodStatusBuilder.Build(pod, Inputs(runtime) with { Terminated = terminated });

    private static string? Condition(JsonObject status, string type, string field) =>
        (string?)((JsonArray)status["conditions"]!).Single(c => (string?)c!["type"] == type)![field];
}
