using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>The same history given to both leaves the same state: every revision, and the numbers of HashKV.</summary>
public sealed class HistoryTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Both_have_the_same_hash_after_each_part_of_the_same_history()
    {
        using StoreClient ours = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation));
        using StoreClient theirs = new(await StoreProcess.StartAsync(StoreKind.Upstream, Cancellation));
        await SameAsync(ours, theirs, "nothing yet");
        foreach ((string name, Func<StoreClient, Task> part) in History.Parts)
        {
            await Task.WhenAll(part(ours), part(theirs));
            await SameAsync(ours, theirs, name);
        }
    }

    private static async Task SameAsync(StoreClient ours, StoreClient theirs, string after)
    {
        HashKVResponse[] hashes = await Task.WhenAll(HashAsync(ours), HashAsync(theirs));
        Assert.Equal(
            (after, hashes[1].Header.Revision, hashes[1].CompactRevision, hashes[1].Hash),
            (after, hashes[0].Header.Revision, hashes[0].CompactRevision, hashes[0].Hash));
        RangeRequest all = new() { Key = ByteString.CopyFrom(0), RangeEnd = ByteString.CopyFrom(0) };
        RangeResponse[] contents = [await ours.RangeAsync(all), await theirs.RangeAsync(all)];
        Assert.Equal(contents[1].Kvs, contents[0].Kvs);
    }

    private static async Task<HashKVResponse> HashAsync(StoreClient store) =>
        await store.Maintenance.HashKVAsync(new HashKVRequest(), cancellationToken: Cancellation);
}
