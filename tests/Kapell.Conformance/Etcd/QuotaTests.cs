using System.Net;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Xunit;
using Action = Kapell.Etcd.Protocol.AlarmRequest.Types.AlarmAction;

namespace Kapell.Conformance.Etcd;

/// <summary>The bound of space, with stores of their own that have a small one.</summary>
public sealed class QuotaTests
{
    private const string Full = "ResourceExhausted: etcdserver: mvcc: database space exceeded";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Beyond_it_only_what_makes_space_is_taken_until_there_is_space(StoreKind kind)
    {
        using StoreClient store = new(await StoreProcess.StartAsync(kind, Cancellation, null, "--quota-backend-bytes", "8388608"));
        store.Prefix = "q/";
        await FillAsync(store);
        Assert.Equal(Full, await StoreClient.RefusalAsync(() => store.PutAsync("b", "1")));
        TxnRequest txn = new() { Success = { new RequestOp { RequestPut = new PutRequest { Key = store.Key("b") } } } };
        Assert.Equal(Full, await StoreClient.RefusalAsync(() => store.TxnAsync(txn)));
        Assert.Equal(Full, await StoreClient.RefusalAsync(() => store.GrantAsync(0, 60)));
        StatusResponse status = await store.StatusAsync();
        Assert.Equal($"memberID:{status.Header.MemberId} alarm:NOSPACE ", Assert.Single(status.Errors));
        AlarmResponse list = await store.Maintenance.AlarmAsync(new AlarmRequest(), cancellationToken: Cancellation);
        AlarmMember expected = new() { MemberID = status.Header.MemberId, Alarm = AlarmType.Nospace };
        Assert.Equal(expected, Assert.Single(list.Alarms));
        Assert.Empty((await store.Maintenance.AlarmAsync(new AlarmRequest { Alarm = AlarmType.Corrupt }, cancellationToken: Cancellation)).Alarms);
        (HttpStatusCode code, string body) = await store.HttpGetAsync("/health");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, code);
        Assert.Contains("\"health\":\"false\"", body, StringComparison.Ordinal);
        DeleteRangeResponse deleted = await store.DeleteAsync(new DeleteRangeRequest { Key = StoreClient.Bytes("q/"), RangeEnd = store.PrefixEnd });
        Assert.True(deleted.Deleted > 3);
        await store.CompactAsync(deleted.Header.Revision, physical: true);
        await store.Maintenance.DefragmentAsync(new DefragmentRequest(), cancellationToken: Cancellation);
        AlarmRequest[] vague = [new() { Action = Action.Deactivate, Alarm = AlarmType.Nospace }, new() { Action = Action.Deactivate, MemberID = status.Header.MemberId }];
        foreach (AlarmRequest nobody in vague)
        {
            Assert.Empty((await store.Maintenance.AlarmAsync(nobody, cancellationToken: Cancellation)).Alarms);
        }

        AlarmRequest clear = new() { Action = Action.Deactivate, MemberID = status.Header.MemberId, Alarm = AlarmType.Nospace };
        await store.Maintenance.AlarmAsync(clear, cancellationToken: Cancellation);
        Assert.Empty((await store.Maintenance.AlarmAsync(clear, cancellationToken: Cancellation)).Alarms);
        await store.PutAsync("b", "1");
    }

    private static async Task FillAsync(StoreClient store)
    {
        ByteString mebibyte = ByteString.CopyFrom(new byte[1 << 20]);
        for (int i = 0; i < 20; i++)
        {
            try
            {
                await store.PutAsync(new PutRequest { Key = store.Key($"{i}"), Value = mebibyte });
            }
            catch (Grpc.Core.RpcException e)
            {
                Assert.Equal(Full, $"{e.StatusCode}: {e.Status.Detail}");
                return;
            }
        }

        Assert.Fail("twenty mebibytes went into eight");
    }
}
