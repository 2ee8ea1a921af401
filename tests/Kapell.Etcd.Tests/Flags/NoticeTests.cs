using Kapell.Base;
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
    [InlineData("--unsafe-no-fsync", "when the machine goes down what was acknowledged may be lost")]
    [InlineData("--memory-mlock", "--memory-mlock has no effect: the store is not a bbolt database")]
    public void A_flag_without_effect_or_with_a_dangerous_one_is_named_in_the_log(string flag, string says) =>
        Assert.Contains(says, Assert.Single(Notices(flag)), StringComparison.Ordinal);

    [Fact]
    public void One_that_has_an_effect_or_was_not_set_is_not() => Assert.Empty(Notices("--snapshot-count=5"));

    [Theory]
    [InlineData("--max-learners=3", 3)]
    [InlineData("--experimental-max-learners=0", 0)]
    public void Learners_are_bounded(string flag, int max) => Assert.Equal(max, Options(flag).LearnersMax);

    [Theory]
    [InlineData("--max-learners=-1")]
    [InlineData("--max-learners=101")]
    public void A_bound_of_learners_that_is_none_is_refused(string flag) =>
        Assert.StartsWith("--max-learners must be between 0 and 100", Assert.Throws<FlagException>(() => Options(flag)).Message, StringComparison.Ordinal);

    private static IEnumerable<string> Notices(string flag) => Options(flag).Notices;

    private static EtcdOptions Options(string flag)
    {
        EtcdFlags flags = new();
        flags.Parse([flag], static _ => null);
        return flags.ToOptions();
    }
}
