using Kapell.Controllers.Jobs;
using Kapell.Machinery;
using Xunit;

namespace Kapell.Kube.Tests.Controllers;

public sealed class JobPolicyTests
{
    private const string Policy = """
        "podFailurePolicy":{"rules":[
          {"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget","status":"True"}]},
          {"action":"FailJob","onExitCodes":{"containerName":"main","operator":"In","values":[42]}},
          {"action":"FailIndex","onExitCodes":{"operator":"In","values":[43]}}]}
        """;

    private static readonly DateTimeOffset Now = new(2026, 1, 1, 1, 0, 0, TimeSpan.Zero);

    [Fact]
    public void A_failure_that_the_policy_ignores_is_let_go_and_not_counted()
    {
        KubeObject job = Job("\"completions\":1," + Policy);
        JobCount count = JobCount.Of(job, [Failed("a", 1, condition: "DisruptionTarget")]);
        Assert.Single(count.Ignored);
        Assert.Equal(0, count.Failed);
    }

    [Fact]
    public void A_rule_that_fails_the_job_gives_upstreams_words()
    {
        KubeObject job = Job("\"completions\":1," + Policy);
        KubeObject pod = Failed("a", 42);
        JobEnd end = JobPlan.End(job, JobCount.Of(job, [pod]), [pod], null, Now)!;
        Assert.Equal("PodFailurePolicy", end.Reason);
        Assert.Equal("Container main for pod default/a failed with exit code 42 matching FailJob rule at index 1", end.Message);
    }

    [Fact]
    public void With_a_policy_a_pod_that_is_going_has_not_failed_yet_and_is_not_replaced()
    {
        KubeObject going = Going("a");
        KubeObject strict = Job("\"completions\":1,\"parallelism\":1," + Policy);
        JobCount count = JobCount.Of(strict, [going]);
        Assert.Equal((0, 1), (count.Failed, count.Terminating));
        Assert.Equal(0, JobPlan.Missing(strict, count, JobPlan.WantedActive(strict, count), 0));
        KubeObject quick = Job("\"completions\":1,\"parallelism\":1");
        count = JobCount.Of(quick, [going]);
        Assert.Equal((1, 1), (count.Failed, count.Terminating));
        Assert.Equal(1, JobPlan.Missing(quick, count, JobPlan.WantedActive(quick, count), 0));
    }

    [Fact]
    public void An_index_fails_when_its_own_limit_is_passed()
    {
        KubeObject job = Job("\"completions\":3,\"parallelism\":3,\"completionMode\":\"Indexed\",\"backoffLimitPerIndex\":1");
        JobCount count = JobCount.Of(job, [Failed("a", 1, index: 0, failures: 0), Failed("b", 1, index: 1, failures: 1)]);
        Assert.Equal([1], count.FailedIndexes!);
        Assert.Equal([0], count.Held.Keys);
        Assert.Equal((1, 0), IndexFailure.After(job, count.Held[0]));
        Assert.Equal(2, JobPlan.WantedActive(job, count));
    }

    [Fact]
    public void An_index_in_back_off_is_passed_over_until_its_time()
    {
        KubeObject job = Job("\"completions\":3,\"parallelism\":3,\"completionMode\":\"Indexed\",\"backoffLimitPerIndex\":1");
        KubeObject failed = Failed("a", 1, index: 0, failures: 0);
        JobCount count = JobCount.Of(job, [failed]);
        DateTimeOffset end = failed.FinishedAt();
        Assert.Equal([1, 2], JobPlan.NextIndexes(job, count, [failed], 3, end.AddSeconds(4), out TimeSpan? wait));
        Assert.Equal(TimeSpan.FromSeconds(6), wait);
        Assert.Equal([0, 1, 2], JobPlan.NextIndexes(job, count, [failed], 3, end.AddSeconds(10), out wait));
        Assert.Null(wait);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void Fail_index_gives_up_the_index_at_once(int index)
    {
        KubeObject job = Job("\"completions\":2,\"completionMode\":\"Indexed\",\"backoffLimitPerIndex\":5,\"maxFailedIndexes\":0," + Policy);
        KubeObject pod = Failed("a", 43, index: index, failures: 0);
        JobCount count = JobCount.Of(job, [pod]);
        Assert.Equal([index], count.FailedIndexes!);
        Assert.Equal("MaxFailedIndexesExceeded", JobPlan.End(job, count, [pod], null, Now)!.Reason);
    }

    [Theory]
    [InlineData("{\"succeededIndexes\":\"0-1\"}", "0,2", null)]
    [InlineData("{\"succeededIndexes\":\"0-1\"}", "0-1", "Matched rules at index 0")]
    [InlineData("{\"succeededIndexes\":\"0-3\",\"succeededCount\":1}", "3", "Matched rules at index 0")]
    [InlineData("{\"succeededCount\":3}", "0-1", null)]
    [InlineData("{\"succeededCount\":3},{\"succeededCount\":2}", "0-1", "Matched rules at index 1")]
    public void A_success_policy_ends_the_job_early(string rules, string completed, string? message)
    {
        KubeObject job = Job($"\"completions\":5,\"completionMode\":\"Indexed\",\"successPolicy\":{{\"rules\":[{rules}]}}", $"\"completedIndexes\":\"{completed}\"");
        Assert.Equal(message, JobPlan.End(job, JobCount.Of(job, []), [], null, Now)?.Message);
    }

    [Fact]
    public void A_suspended_job_wants_no_pods() => Assert.Equal(0, JobPlan.WantedActive(Job("\"completions\":3,\"suspend\":true"), new JobCount()));

    private static KubeObject Job(string spec, string status = "") => Doc.Of($$$"""
        {"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j","namespace":"default","uid":"j"},"spec":{ {{{spec}}} },"status":{ {{{status}}} } }
        """);

    private static KubeObject Failed(string name, int code, int index = -1, int failures = -1, string condition = "") => Doc.Of($$$"""
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{{name}}}","namespace":"default","uid":"uid-{{{name}}}","creationTimestamp":"2026-01-01T00:00:00Z",
          "finalizers":["batch.kubernetes.io/job-tracking"],
          "annotations":{"batch.kubernetes.io/job-completion-index":"{{{index}}}","batch.kubernetes.io/job-index-failure-count":"{{{failures}}}"}},
         "spec":{"nodeName":"n1"},
         "status":{"phase":"Failed","conditions":[{"type":"{{{condition}}}","status":"True"}],
           "containerStatuses":[{"name":"main","state":{"terminated":{"exitCode":{{{code}}},"finishedAt":"2026-01-01T00:30:00Z"} } }] } }
        """);

    private static KubeObject Going(string name) =>
        Doc.Pod(name, meta: ",\"deletionTimestamp\":\"2026-01-01T00:30:00Z\",\"finalizers\":[\"batch.kubernetes.io/job-tracking\"]");
}
