using Kapell.Etcd.Server.Hosting;
using Xunit;

namespace Kapell.Etcd.Tests.Hosting;

public sealed class CheckpointTakerTests
{
    private const long Mega = 1 << 20;

    [Theory]
    [InlineData(0, 64)]
    [InlineData(100, 64)]
    [InlineData(200, 100)]
    [InlineData(256, 128)]
    [InlineData(1000, 128)]
    [InlineData(1024, 128)]
    [InlineData(2048, 128)]
    [InlineData(4096, 256)]
    public void What_is_replayed_at_the_next_start_grows_with_the_store_and_each_write_is_written_few_times(long live, long between) =>
        Assert.Equal(between * Mega, CheckpointTaker.BytesBetween(live * Mega));
}
