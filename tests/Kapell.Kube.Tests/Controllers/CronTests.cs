using Kapell.Controllers.CronJobs;
using Kapell.Machinery;
using Xunit;

namespace Kapell.Kube.Tests.Controllers;

public sealed class CronTests
{
    [Theory]
    [InlineData("*/15 * * * *", "2026-01-01T00:07:30Z", "2026-01-01T00:15:00Z")]
    [InlineData("0 3 * * *", "2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z")]
    [InlineData("@hourly", "2026-12-31T23:30:00Z", "2027-01-01T00:00:00Z")]
    [InlineData("5 4 * * sun", "2026-01-01T00:00:00Z", "2026-01-04T04:05:00Z")]
    [InlineData("0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")] // either day field may match: Friday the 2nd
    [InlineData("0 0 */2 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")]
    [InlineData("0 0 29 feb *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z")]
    [InlineData("10-20/5 1,2 * * *", "2026-01-01T01:20:00Z", "2026-01-01T02:10:00Z")]
    [InlineData("@every 90s", "2026-01-01T00:00:00.5Z", "2026-01-01T00:01:30Z")]
    public void The_next_time_is_cronlike(string schedule, string after, string expected) =>
        Assert.Equal(DateTimeOffset.Parse(expected), CronSchedule.Parse(schedule).Next(DateTimeOffset.Parse(after), TimeZoneInfo.Utc));

    [Fact]
    public void A_schedule_that_never_comes_has_no_next_time() =>
        Assert.Null(CronSchedule.Parse("0 0 31 2 *").Next(DateTimeOffset.UnixEpoch, TimeZoneInfo.Utc));

    [Theory]
    [InlineData("2026-03-08T06:00:00Z", "2026-03-09T06:30:00Z")] // 02:30 does not come on the day the clock jumps
    [InlineData("2026-06-01T00:00:00Z", "2026-06-01T06:30:00Z")]
    public void A_schedule_walks_the_wall_clock_of_its_zone(string after, string expected) =>
        Assert.Equal(DateTimeOffset.Parse(expected), CronSchedule.Parse("30 2 * * *").Next(DateTimeOffset.Parse(after), NewYork()));

    [Theory]
    [InlineData("* * * *", "expected exactly 5 fields, found 4: [* * * *]")]
    [InlineData("60 * * * *", "end of range (60) above maximum (59): 60")]
    [InlineData("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1")]
    [InlineData("@often", "unrecognized descriptor: @often")]
    public void A_bad_schedule_is_refused_in_upstreams_words(string schedule, string message) =>
        Assert.Equal(message, Assert.Throws<FormatException>(() => CronSchedule.Parse(schedule)).Message);

    [Fact]
    public void Of_missed_times_only_the_newest_is_due()
    {
        DateTimeOffset now = DateTimeOffset.Parse("2026-01-01T10:00:30Z");
        DueTime due = CronJobPlan.Due(Cron(), CronSchedule.Parse("* * * * *"), TimeZoneInfo.Utc, now);
        Assert.Equal(DateTimeOffset.Parse("2026-01-01T10:00:00Z"), due.At);
        Assert.True(due.ManyMissed);
    }

    [Fact]
    public void Nothing_is_due_before_the_first_time() =>
        Assert.Null(CronJobPlan.Due(Cron(), CronSchedule.Parse("0 5 * * *"), TimeZoneInfo.Utc, DateTimeOffset.Parse("2026-01-01T04:59:59Z")).At);

    [Fact]
    public void A_deadline_forgets_what_is_older()
    {
        DateTimeOffset now = DateTimeOffset.Parse("2026-01-01T05:02:00Z");
        Assert.Null(CronJobPlan.Due(Cron("\"startingDeadlineSeconds\":60"), CronSchedule.Parse("0 5 * * *"), TimeZoneInfo.Utc, now).At);
        Assert.NotNull(CronJobPlan.Due(Cron("\"startingDeadlineSeconds\":180"), CronSchedule.Parse("0 5 * * *"), TimeZoneInfo.Utc, now).At);
    }

    [Fact]
    public void A_job_is_named_after_its_minute() =>
        Assert.Equal("c-29454300", CronJobPlan.JobName(Cron(), DateTimeOffset.Parse("2026-01-01T09:00:00Z")));

    [Fact]
    public void The_oldest_finished_jobs_beyond_the_limits_go()
    {
        KubeObject[] jobs = [Job("a", 1, "Complete"), Job("b", 2, "Complete"), Job("c", 3, "Failed"), Job("d", 4, "Failed"), Job("e", 5, "")];
        Assert.Equal(["a", "c"], CronJobPlan.Surplus(Cron("\"successfulJobsHistoryLimit\":1"), jobs).Select(j => j.Name));
    }

    private static TimeZoneInfo NewYork() => TimeZoneInfo.CreateCustomTimeZone("test", TimeSpan.FromHours(-5), "test", "test", "test",
    [
        TimeZoneInfo.AdjustmentRule.CreateAdjustmentRule(DateTime.MinValue.Date, DateTime.MaxValue.Date, TimeSpan.FromHours(1),
            TimeZoneInfo.TransitionTime.CreateFloatingDateRule(new DateTime(1, 1, 1, 2, 0, 0), 3, 2, DayOfWeek.Sunday),
            TimeZoneInfo.TransitionTime.CreateFloatingDateRule(new DateTime(1, 1, 1, 2, 0, 0), 11, 1, DayOfWeek.Sunday)),
    ]);

    private static KubeObject Cron(string spec = "") => Doc.Of($$$"""
        {"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"c","namespace":"default","uid":"c","creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{ {{{spec}}} },"status":{}}
        """);

    private static KubeObject Job(string name, int started, string end) => Doc.Of($$$"""
        {"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"{{{name}}}","namespace":"default","uid":"{{{name}}}"},"spec":{},
         "status":{"startTime":"2026-01-01T00:0{{{started}}}:00Z","conditions":[{"type":"{{{end}}}","status":"True"}]}}
        """);
}
