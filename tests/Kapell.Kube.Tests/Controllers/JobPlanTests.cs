using Kapell.Controllers.Jobs;
using Kapell.Machinery;
using Xunit;

namespace Kapell.Kube.Tests.Controllers;

public sealed class JobPlanTests
{
    private const string Tracked = ",\"finalizers\":[\"batch.kubernetes.io/job-tracking\"]";
    private static readonly DateTimeOffset Now = new(2026, 1, 1, 1, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData("", "")]
    [InlineData("0,2-5,7", "0,2-5,7")]
    [InlineData("0-1", "0,1")]
    [InlineData("3,x,5-90", "3,5-9")]
    public void Completed_indexes_read_and_write_as_ranges(string text, string expected) =>
        Assert.Equal(expected, IndexRanges.Text(IndexRanges.Parse(text, 10)));

    [Fact]
    public void A_finished_pod_is_counted_once()
    {
        KubeObject job = Job("\"completions\":2", "\"succeeded\":1,\"uncountedTerminatedPods\":{\"succeeded\":[\"uid-a\"]}");
        JobCount count = JobCount.Of(job, [Doc.Pod("a", "Succeeded", meta: Tracked), Doc.Pod("b", "Succeeded")]);
        Assert.Equal(2, count.Succeeded);
        Assert.Empty(count.NewSucceeded);
        Assert.False(JobPlan.End(job, count, [], null, Now)!.Failed);
    }

    [Fact]
    public void More_failures_than_the_limit_fail_the_job()
    {
        KubeObject job = Job("\"completions\":1,\"backoffLimit\":1", "\"failed\":1");
        Assert.Null(JobPlan.End(job, JobCount.Of(job, []), [], null, Now));
        JobCount count = JobCount.Of(job, [Doc.Pod("a", "Failed", meta: Tracked)]);
        Assert.Equal("BackoffLimitExceeded", JobPlan.End(job, count, [], null, Now)!.Reason);
    }

    [Fact]
    public void No_more_pods_are_wanted_than_completions_are_missing()
    {
        KubeObject job = Job("\"completions\":5,\"parallelism\":3", "\"succeeded\":4");
        Assert.Equal(1, JobPlan.WantedActive(job, JobCount.Of(job, [])));
    }

    [Fact]
    public void The_next_pod_waits_longer_after_each_failure()
    {
        KubeObject failed = Doc.Pod("a", "Failed");
        Assert.Equal(TimeSpan.FromSeconds(10), JobPlan.Backoff(Job("", ""), [failed], failed.Metadata.GetProperty("creationTimestamp").GetDateTimeOffset()));
        Assert.Equal(TimeSpan.FromSeconds(20), JobPlan.Backoff(Job("", ""), [failed, Doc.Pod("b", "Failed")], failed.Metadata.GetProperty("creationTimestamp").GetDateTimeOffset()));
        Assert.Equal(TimeSpan.Zero, JobPlan.Backoff(Job("", ""), [Doc.Pod("c", "Succeeded")], Now));
    }

    private static KubeObject Job(string spec, string status) => Doc.Of($$"""
        {"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j","namespace":"default","uid":"j"},"spec":{ {{spec}} },"status":{ {{status}} } }
        """);
}
