using Kapell.Etcd.Server.Hosting;
using Xunit;

namespace Kapell.Etcd.Tests.Hosting;

/// <summary>Freeing what was compacted makes room while the machine is slow.</summary>
public sealed class MaintenancePaceTests
{
    [Theory]
    [InlineData(0, false, 1)]
    [InlineData(1.3, false, 1)]
    [InlineData(1.3, true, 5)]
    [InlineData(1.9, false, 1)]
    [InlineData(2, false, 8)]
    [InlineData(2, true, 8)]
    [InlineData(16, false, 64)]
    [InlineData(25, true, 100)]
    [InlineData(3000, false, 100)]
    public void A_slow_step_is_followed_by_a_longer_rest(double took, bool tidying, double rest) =>
        Assert.Equal(TimeSpan.FromMilliseconds(rest), MaintenancePace.RestAfter(TimeSpan.FromMilliseconds(took), tidying));
}
