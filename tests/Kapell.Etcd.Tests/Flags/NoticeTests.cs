using Kapell.Etcd.Server;
using Xunit;

namespace Kapell.Etcd.Tests.Flags;

public sealed class NoticeTests
{
    [Theory]
    [InlineData("--max-snapshots=10", "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8")]
    [InlineData("--v2-deprecation=gone", "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, ignoring user input")]
    [InlineData("--proxy-read-timeout=10", "--proxy-read-timeout is deprecated in 3.5 and will be decommissioned in 3.6.")]
    [InlineData("--bootstrap-defrag-threshold-megabytes=1000", "Skipping defragmentation")]
    [InlineData("--max-learners=2", "--max-learners has no effect: one learner at a time")]
    public void A_flag_without_effect_is_named_in_the_log(string flag, string says) =>
        Assert.Contains(says, Assert.Single(Notices(flag)), StringComparison.Ordinal);

    [Fact]
    public void One_that_has_an_effect_or_was_not_set_is_not() => Assert.Empty(Notices("--snapshot-count=5"));

    private static IEnumerable<string> Notices(string flag)
    {
        EtcdFlags flags = new();
        flags.Parse([flag], static _ => null);
        return flags.ToOptions().Notices;
    }
}
