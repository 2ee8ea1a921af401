using Google.Protobuf;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Protocol.Elections;
using Kapell.Etcd.Protocol.Locks;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>
/// Random calls of the lock and election services to both programs, with few names and leases, stale keys and keys that others removed:
/// who gets what, who waits, every refusal, and what the store holds after each of them are the same.
/// </summary>
public sealed class RandomLocksTests
{
    private const int Calls = 150;

    // Who has not got it by then waits for somebody.
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(150);
    private static readonly TimeSpan CleanUpMax = TimeSpan.FromSeconds(10);
    private static readonly long[] LeaseIds = [0x11, 0x12, 0x13, 0x99];
    private static readonly string[] Names = ["lock", "vote", "lock/a"];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Both_answer_alike(ulong seed)
    {
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        using StoreClient ours = new(await StoreProcess.StartAsync(StoreKind.Kapell, cancellation));
        using StoreClient theirs = new(await StoreProcess.StartAsync(StoreKind.Upstream, cancellation));
        Maker maker = new(new Prng(seed));
        for (int i = 0; i < Calls; i++)
        {
            IMessage request = maker.Next();
            (string expected, IMessage? answer) = await AskAsync(theirs, request);
            Assert.Equal($"{i} {request}: {expected}", $"{i} {request}: {(await AskAsync(ours, request)).Text}");
            maker.Remember(answer);
            (string theirContent, string ourContent) = await ContentsAsync(theirs, ours);
            Assert.Equal($"{i} {request}: {theirContent}", $"{i} {request}: {ourContent}");
        }
    }

    private static async Task<(string Text, IMessage? Answer)> AskAsync(StoreClient store, IMessage request)
    {
        using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        if (request is LockRequest or CampaignRequest)
        {
            late.CancelAfter(Patience);
        }

        try
        {
            IMessage answer = request switch
            {
                LockRequest call => await store.Locks.LockAsync(call, cancellationToken: late.Token),
                UnlockRequest call => await store.Locks.UnlockAsync(call, cancellationToken: late.Token),
                CampaignRequest call => await store.Elections.CampaignAsync(call, cancellationToken: late.Token),
                ProclaimRequest call => await store.Elections.ProclaimAsync(call, cancellationToken: late.Token),
                ResignRequest call => await store.Elections.ResignAsync(call, cancellationToken: late.Token),
                LeaderRequest call => await store.Elections.LeaderAsync(call, cancellationToken: late.Token),
                LeaseGrantRequest call => await store.Leases.LeaseGrantAsync(call, cancellationToken: late.Token),
                LeaseRevokeRequest call => await store.Leases.LeaseRevokeAsync(call, cancellationToken: late.Token),
                DeleteRangeRequest call => await store.Kv.DeleteRangeAsync(call, cancellationToken: late.Token),
                _ => throw new ArgumentException(request.ToString()),
            };
            return (answer.ToString()!, answer);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.Cancelled && late.IsCancellationRequested)
        {
            TestContext.Current.CancellationToken.ThrowIfCancellationRequested();
            return ("waits", null);
        }
        catch (RpcException e)
        {
            return ($"{e.StatusCode} {e.Status.Detail}", null);
        }
    }

    /// <summary>All keys of both, when who gave up waiting has taken back what it put.</summary>
    private static async Task<(string Theirs, string Ours)> ContentsAsync(StoreClient theirs, StoreClient ours)
    {
        ByteString all = StoreClient.Bytes("\0");
        RangeRequest everything = new() { Key = all, RangeEnd = all };
        long begun = Environment.TickCount64;
        while (true)
        {
            (string Theirs, string Ours) contents = ((await theirs.RangeAsync(everything)).ToString(), (await ours.RangeAsync(everything)).ToString());
            if (contents.Theirs == contents.Ours || Environment.TickCount64 - begun > CleanUpMax.TotalMilliseconds)
            {
                return contents;
            }

            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
    }

    private sealed class Maker(Prng prng)
    {
        private readonly List<ByteString> _locks = [StoreClient.Bytes("lock/11"), StoreClient.Bytes("nobody"), ByteString.Empty];
        private readonly List<LeaderKey?> _leaders = [null, new LeaderKey()];

        public IMessage Next() => prng.NextInt(0, 100) switch
        {
            < 25 => new LockRequest { Name = Name(), Lease = One(LeaseIds) },
            < 40 => new UnlockRequest { Key = One(_locks) },
            < 60 => new CampaignRequest { Name = Name(), Lease = One(LeaseIds), Value = Value() },
            < 68 => new ProclaimRequest { Leader = Leader(), Value = Value() },
            < 76 => new ResignRequest { Leader = Leader() },
            < 82 => new LeaderRequest { Name = Name() },
            < 92 => new LeaseGrantRequest { ID = One(LeaseIds), TTL = 3600 },
            < 96 => new LeaseRevokeRequest { ID = One(LeaseIds) },
            _ => new DeleteRangeRequest { Key = Name(), RangeEnd = StoreClient.Bytes("w") },
        };

        public void Remember(IMessage? answer)
        {
            switch (answer)
            {
                case LockResponse held: _locks.Add(held.Key); break;
                case CampaignResponse won: _leaders.Add(won.Leader); break;
            }
        }

        private T One<T>(IReadOnlyList<T> choices) => choices[prng.NextInt(0, choices.Count)];

        private ByteString Name() => StoreClient.Bytes(prng.NextInt(0, 20) == 0 ? "" : One(Names));

        private ByteString Value() => StoreClient.Bytes(One(["", "1", "2"]));

        private LeaderKey? Leader()
        {
            LeaderKey? leader = One(_leaders)?.Clone();
            if (leader is not null && prng.NextInt(0, 5) == 0)
            {
                leader.Rev--;
            }

            return leader;
        }
    }
}
