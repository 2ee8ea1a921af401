using System.Text.Json.Nodes;
using Kapell.Kubelet.Pods;
using Xunit;
using static Kapell.Kube.Tests.Kubelet.PodFixtures;

namespace Kapell.Kube.Tests.Kubelet;

public sealed class SidecarAndRoomTests
{
    private const string Side = "\"initContainers\":[{\"name\":\"s\",\"image\":\"busybox\",\"restartPolicy\":\"Always\"}],\"containers\":[{\"name\":\"a\",\"image\":\"busybox\"}]";

    [Theory]
    [InlineData("Never", true, 0, "Running")] // the sidecar is still to be stopped
    [InlineData("Never", false, 0, "Succeeded")]
    [InlineData("Never", false, 1, "Failed")]
    [InlineData("OnFailure", false, 1, "Running")]
    public void A_sidecar_keeps_a_pod_running_and_its_own_end_does_not_count(string policy, bool sideRuns, int code, string phase)
    {
        Pod pod = Pod($"{{\"restartPolicy\":\"{policy}\",{Side}}}");
        ContainerInfo side = sideRuns ? Running("s") : Exited("s", 137);
        Assert.Equal(phase, Phase(pod, Runtime(Exited("a", code), side)));
    }

    [Fact]
    public void A_sidecar_that_restarts_does_not_make_a_pod_pending_again()
    {
        Pod pod = Pod($"{{\"restartPolicy\":\"Always\",{Side}}}");
        Assert.Equal("Running", Phase(pod, Runtime(Running("a"), Exited("s", 1))));
        Assert.Equal("Pending", Phase(pod, Runtime(Running("s"))));
    }

    [Fact]
    public void A_failed_init_container_fails_a_pod_that_never_restarts()
    {
        Assert.Equal("Failed", Phase(WithInit("Never"), Runtime(Exited("i1", 1))));
        Assert.Equal("Pending", Phase(WithInit("OnFailure"), Runtime(Exited("i1", 1))));
        Assert.Equal("Pending", Phase(WithInit("Never"), Runtime(Exited("i1", 0))));
    }

    [Fact]
    public void A_pod_that_does_not_fit_beside_the_others_is_refused_in_upstreams_words()
    {
        Pod one = Asking("1500m", 0);
        Assert.Null(PodAdmission.RefuseForRoom(one, [], Capacity, 10));
        (string reason, string message) = PodAdmission.RefuseForRoom(one, [one], Capacity, 10)!.Value;
        Assert.Equal("OutOfcpu", reason);
        Assert.Equal("Node didn't have enough resource: cpu, requested: 1500, used: 1500, capacity: 2000", message);
        Assert.Equal("OutOfpods", PodAdmission.RefuseForRoom(one, [Asking("0", 0)], Capacity, 1)!.Value.Reason);
    }

    [Theory]
    [InlineData("0.0.0.0", "127.0.0.1", true)]
    [InlineData("127.0.0.1", "127.0.0.2", false)]
    [InlineData("127.0.0.1", "127.0.0.1", true)]
    public void Host_ports_clash_when_their_addresses_do(string a, string b, bool clash) =>
        Assert.Equal(clash ? "NodePorts" : null, PodAdmission.RefuseForRoom(Asking("0", 80, a), [Asking("0", 80, b)], Capacity, 10)?.Reason);

    private static decimal Capacity(string name) => name == "cpu" ? 2 : 1_000_000_000;

    private static Pod Asking(string cpu, int port, string ip = "") => Pod(
        $"{{\"containers\":[{{\"name\":\"a\",\"image\":\"b\",\"resources\":{{\"requests\":{{\"cpu\":\"{cpu}\"}}}},\"ports\":[{{\"hostPort\":{port},\"hostIP\":\"{ip}\"}}]}}]}}");

    private static string Phase(Pod pod, RuntimePod runtime) => (string)PodStatusBuilder.Build(pod, new StatusInputs
    {
        Runtime = runtime, Verdicts = NoVerdict, HostIps = ["192.0.2.1"], Now = Now, StartedAt = Now,
    })["phase"]!;
}
