using Kapell.Kubelet.Pods;
using Xunit;
using static Kapell.Kube.Tests.Kubelet.PodFixtures;

namespace Kapell.Kube.Tests.Kubelet;

public sealed class PodPlannerTests
{
    [Fact]
    public void A_new_pod_gets_a_sandbox_and_all_its_containers()
    {
        PodActions plan = PodPlanner.Plan(Simple(), RuntimePod.Nothing, NoVerdict);
        Assert.True(plan.CreateSandbox);
        Assert.Equal(0u, plan.Attempt);
        Assert.Equal(["a"], plan.ToStart.Select(c => c.Name));
    }

    [Fact]
    public void A_pod_as_it_should_be_needs_nothing()
    {
        PodActions plan = PodPlanner.Plan(Simple(), Runtime(Running("a")), NoVerdict);
        Assert.False(plan.KillPod || plan.CreateSandbox);
        Assert.Empty(plan.ToStart);
        Assert.Empty(plan.ToKill);
    }

    [Theory]
    [InlineData("Always", 0, true)]
    [InlineData("Always", 1, true)]
    [InlineData("OnFailure", 0, false)]
    [InlineData("OnFailure", 1, true)]
    [InlineData("Never", 1, false)]
    public void The_restart_policy_decides_whether_a_dead_container_runs_again(string policy, int exitCode, bool again)
    {
        PodActions plan = PodPlanner.Plan(Simple(policy), Runtime(Exited("a", exitCode)), NoVerdict);
        Assert.Equal(again, plan.ToStart.Count == 1);
        Assert.Equal(!again, plan.KillPod);
    }

    [Fact]
    public void Init_containers_run_one_after_another_before_the_others()
    {
        PodActions first = PodPlanner.Plan(WithInit(), RuntimePod.Nothing, NoVerdict);
        PodActions during = PodPlanner.Plan(WithInit(), Runtime(Running("i1")), NoVerdict);
        PodActions second = PodPlanner.Plan(WithInit(), Runtime(Exited("i1", 0)), NoVerdict);
        PodActions after = PodPlanner.Plan(WithInit(), Runtime(Exited("i2", 0), Exited("i1", 0)), NoVerdict);
        Assert.Equal(["i1"], first.InitToStart.Select(c => c.Name));
        Assert.Empty(during.InitToStart.Concat(during.ToStart));
        Assert.Equal(["i2"], second.InitToStart.Select(c => c.Name));
        Assert.Equal(["a"], after.ToStart.Select(c => c.Name));
    }

    [Theory]
    [InlineData("Never", true)]
    [InlineData("OnFailure", false)]
    [InlineData("Always", false)]
    public void A_failed_init_container_ends_only_a_pod_that_never_restarts(string policy, bool ends)
    {
        PodActions plan = PodPlanner.Plan(WithInit(policy), Runtime(Exited("i1", 1)), NoVerdict);
        Assert.Equal(ends, plan.KillPod);
        Assert.Equal(!ends, plan.InitToStart.Count == 1);
    }

    [Fact]
    public void A_dead_sandbox_is_replaced_with_everything_in_it()
    {
        RuntimePod dead = Runtime(Exited("a", 255)) with { Sandboxes = [new SandboxInfo { Id = "s0", Attempt = 3 }] };
        PodActions plan = PodPlanner.Plan(Simple(), dead, NoVerdict);
        Assert.True(plan.KillPod && plan.CreateSandbox);
        Assert.Equal(4u, plan.Attempt);
    }

    [Fact]
    public void A_pod_that_never_restarts_stays_dead_with_its_sandbox()
    {
        RuntimePod dead = Runtime(Exited("a", 255)) with { Sandboxes = [new SandboxInfo { Id = "s0" }] };
        PodActions plan = PodPlanner.Plan(Simple("Never"), dead, NoVerdict);
        Assert.True(plan.KillPod);
        Assert.False(plan.CreateSandbox);
    }

    [Fact]
    public void A_failed_liveness_probe_kills_and_restarts()
    {
        PodActions plan = PodPlanner.Plan(Simple(), Runtime(Running("a")), _ => new ProbeVerdicts(false, null, null));
        Assert.Equal("Container a failed liveness probe, will be restarted", Assert.Single(plan.ToKill).Message);
        Assert.Equal(["a"], plan.ToStart.Select(c => c.Name));
    }

    [Fact]
    public void Another_image_restarts_the_container()
    {
        PodActions plan = PodPlanner.Plan(Simple(), Runtime(Running("a", image: "old")), NoVerdict);
        Assert.Equal("Container a definition changed, will be restarted", Assert.Single(plan.ToKill).Message);
    }

    [Fact]
    public void A_sidecar_must_run_before_the_next_init_container_and_is_restarted_alone()
    {
        Pod pod = Pod("""{"initContainers":[{"name":"s","image":"busybox","restartPolicy":"Always"},{"name":"i","image":"busybox"}],"containers":[{"name":"a","image":"busybox"}]}""");
        PodActions next = PodPlanner.Plan(pod, Runtime(Running("s")), NoVerdict);
        PodActions later = PodPlanner.Plan(pod, Runtime(Running("a"), Exited("i", 0), Exited("s", 1)), NoVerdict);
        Assert.Equal(["i"], next.InitToStart.Select(c => c.Name));
        Assert.Equal(["s"], later.InitToStart.Select(c => c.Name));
        Assert.Empty(later.ToStart);
    }
}
