using Google.Protobuf;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>
/// The same random requests to both programs, one after another, with few keys and odd bounds, so that they meet: every answer, or refusal,
/// is the same, header and all; so is what watchers are told, those that watch meanwhile and those that ask in the end, and the hash.
/// </summary>
public sealed class RandomRequestsTests
{
    private const int Requests = 1500;
    private const int Watches = 5;

    // Much longer than any answer takes to come.
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(1);

    // Upstream looks for the past of a watch ten times a second, and for the pair before when it sends an event: what is compacted by then
    // it does not find. And who ends a watch need not be told what happened just before.
    private static readonly TimeSpan UntilTold = TimeSpan.FromMilliseconds(150);
    private static readonly string[] Keys = ["a", "b", "ab", "b\0", "c", "zz", "a/1", "a/2", "a/3", new string('k', 40), "\0", ""];
    private static readonly string[] Values = ["", "1", "2", new string('v', 50)];
    private static readonly long[] LeaseIds = [7, 8, 9, 99];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Both_answer_alike(ulong seed)
    {
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        using StoreClient ours = new(await StoreProcess.StartAsync(StoreKind.Kapell, cancellation));
        using StoreClient theirs = new(await StoreProcess.StartAsync(StoreKind.Upstream, cancellation));
        using LiveWatches ourWatches = new(ours);
        using LiveWatches theirWatches = new(theirs);
        Maker maker = new(new Prng(seed));
        for (int i = 0; i < Requests; i++)
        {
            IMessage request = maker.Next();
            if (request is CompactionRequest or WatchRequest { CancelRequest: not null })
            {
                await Task.Delay(UntilTold, cancellation);
            }

            if (request is WatchRequest watch)
            {
                WatchResponse[] answers = await Task.WhenAll(theirWatches.AskAsync(watch), ourWatches.AskAsync(watch));
                Assert.Equal($"{i} {watch}: {answers[0]}", $"{i} {watch}: {answers[1]}");
                maker.Answered(answers[0]);
                continue;
            }

            string expected = await AskAsync(theirs, request, cancellation);
            Assert.Equal($"{i} {request}: {expected}", $"{i} {request}: {await AskAsync(ours, request, cancellation)}");
            maker.Revision = await theirs.RevisionAsync();
        }

        Assert.Equal(await theirWatches.ToldAsync(Silence), await ourWatches.ToldAsync(Silence));
        for (int i = 0; i < Watches; i++)
        {
            WatchCreateRequest watch = maker.Watch(all: i == 0);
            string[] told = await Task.WhenAll(EventsAsync(theirs, watch), EventsAsync(ours, watch));
            Assert.Equal($"{watch}: {told[0]}", $"{watch}: {told[1]}");
        }

        HashKVRequest hash = new() { Revision = maker.Revision };
        Assert.Equal(
            (await theirs.Maintenance.HashKVAsync(hash, cancellationToken: cancellation)).Hash,
            (await ours.Maintenance.HashKVAsync(hash, cancellationToken: cancellation)).Hash);
    }

    private static async Task<string> AskAsync(StoreClient store, IMessage request, CancellationToken cancellation)
    {
        try
        {
            IMessage answer = request switch
            {
                PutRequest put => await store.Kv.PutAsync(put, cancellationToken: cancellation),
                RangeRequest range => await store.Kv.RangeAsync(range, cancellationToken: cancellation),
                DeleteRangeRequest delete => await store.Kv.DeleteRangeAsync(delete, cancellationToken: cancellation),
                TxnRequest txn => await store.Kv.TxnAsync(txn, cancellationToken: cancellation),
                CompactionRequest compaction => await store.Kv.CompactAsync(compaction, cancellationToken: cancellation),
                LeaseGrantRequest grant => await store.Leases.LeaseGrantAsync(grant, cancellationToken: cancellation),
                LeaseRevokeRequest revoke => await store.Leases.LeaseRevokeAsync(revoke, cancellationToken: cancellation),
                LeaseTimeToLiveRequest left => Timeless(await store.Leases.LeaseTimeToLiveAsync(left, cancellationToken: cancellation)),
                _ => throw new ArgumentException(request.ToString()),
            };
            return answer.ToString()!;
        }
        catch (RpcException e)
        {
            // Of several reasons to refuse a transaction upstream's versions name this one or that one first.
            return request is TxnRequest ? "refused" : $"{e.StatusCode} {e.Status.Detail}";
        }
    }

    // In no order that is promised, and seconds pass.
    private static LeaseTimeToLiveResponse Timeless(LeaseTimeToLiveResponse response)
    {
        response.TTL = Math.Min(response.TTL, 1);
        List<ByteString> keys = [.. response.Keys.OrderBy(static k => k.ToBase64(), StringComparer.Ordinal)];
        response.Keys.Clear();
        response.Keys.AddRange(keys);
        return response;
    }

    /// <summary>What a watch of the past is told until nothing more comes: the same text for the same events.</summary>
    private static async Task<string> EventsAsync(StoreClient store, WatchCreateRequest create)
    {
        using CancellationTokenSource silence = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        using AsyncDuplexStreamingCall<WatchRequest, WatchResponse> watch = store.Watch.Watch(cancellationToken: silence.Token);
        await watch.RequestStream.WriteAsync(new WatchRequest { CreateRequest = create }, silence.Token);
        List<string> told = [];
        while (await NextAsync(watch.ResponseStream, silence) is { } response)
        {
            told.Add($"{response.Created} {response.Canceled} {response.CompactRevision}");
            told.AddRange(response.Events.Select(static e => e.ToString()));
        }

        // Whether events come in one answer or in two is not promised.
        return string.Join('\n', told.Where(static t => t != "False False 0"));
    }

    private static async Task<WatchResponse?> NextAsync(IAsyncStreamReader<WatchResponse> responses, CancellationTokenSource silence)
    {
        silence.CancelAfter(Silence);
        try
        {
            return await responses.MoveNext(silence.Token) ? responses.Current : null;
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.Cancelled)
        {
            TestContext.Current.CancellationToken.ThrowIfCancellationRequested();
            return null;
        }
    }

    private sealed class Maker(Prng prng)
    {
        private const int DepthMax = 2;
        private readonly List<long> _watches = [];

        /// <summary>The newest there is.</summary>
        public long Revision { get; set; } = 1;

        public long Compacted { get; private set; }

        public IMessage Next() => prng.NextInt(0, 100) switch
        {
            < 30 => Put(),
            < 55 => Range(),
            < 65 => Delete(),
            < 88 => Txn(0),
            < 91 => Compaction(),
            < 95 => new LeaseGrantRequest { ID = One(LeaseIds), TTL = One<long>([3600, 3600, 9_000_000_001]) },
            < 97 => new LeaseRevokeRequest { ID = One(LeaseIds) },
            < 98 => LiveWatch(),
            _ => new LeaseTimeToLiveRequest { ID = One(LeaseIds), Keys = Chance(50) },
        };

        /// <summary>Of everything that is left, or of something, perhaps of what is compacted.</summary>
        public WatchCreateRequest Watch(bool all)
        {
            if (all)
            {
                ByteString from = StoreClient.Bytes("\0");
                return new WatchCreateRequest { Key = from, RangeEnd = from, PrevKv = true, StartRevision = Compacted + 1 };
            }

            WatchCreateRequest watch = new()
            {
                Key = Key(),
                RangeEnd = End(),
                PrevKv = Chance(50),

                // Not at the compaction itself: of what was deleted there the versions of upstream tell, or do not.
                StartRevision = One([1, Compacted + 1, Math.Max(Compacted + 1, Revision - 5), Revision + 1]),
            };
            watch.Filters.AddRange(Many(0, 2, () => (WatchCreateRequest.Types.FilterType)prng.NextInt(0, 2)));
            return watch;
        }

        /// <summary>Of what is to come, or also of a little that has been; or the end of one.</summary>
        private WatchRequest LiveWatch()
        {
            if (_watches.Count > 0 && Chance(30))
            {
                long ended = One(_watches);
                _watches.Remove(ended);
                return new WatchRequest { CancelRequest = new WatchCancelRequest { WatchId = ended } };
            }

            return new WatchRequest
            {
                CreateRequest = new WatchCreateRequest
                {
                    Key = Key(),
                    RangeEnd = End(),
                    PrevKv = Chance(50),
                    StartRevision = One([0, 0, Math.Max(Compacted + 1, Revision - 5), Revision + 1, Revision + 20]),
                },
            };
        }

        public void Answered(WatchResponse answer)
        {
            if (!answer.Canceled)
            {
                _watches.Add(answer.WatchId);
            }
        }

        private T One<T>(IReadOnlyList<T> choices) => choices[prng.NextInt(0, choices.Count)];

        private bool Chance(int percent) => prng.NextInt(0, 100) < percent;

        private ByteString Key() => StoreClient.Bytes(One(Keys));

        private ByteString End() => One<Func<ByteString>>([static () => ByteString.Empty, Key, static () => StoreClient.Bytes("\0"), Key])();

        private long Near() => One([0, 1, Revision, Revision - 1, Revision - 3, Revision + 1, -1]);

        private PutRequest Put() => new()
        {
            Key = Key(),
            Value = StoreClient.Bytes(One(Values)),
            Lease = Chance(30) ? One(LeaseIds) : 0,
            PrevKv = Chance(15),
            IgnoreLease = Chance(10),
        };

        private RangeRequest Range() => new()
        {
            Key = Key(),
            RangeEnd = End(),
            Limit = Chance(30) ? One<long>([0, 1, 2, 3, -1, 100]) : 0,
            Revision = Chance(35) ? Near() : 0,
            SortOrder = Chance(30) ? (RangeRequest.Types.SortOrder)prng.NextInt(0, 3) : 0,
            SortTarget = Chance(30) ? (RangeRequest.Types.SortTarget)prng.NextInt(0, 5) : 0,
            Serializable = Chance(15),
            KeysOnly = Chance(15),
            CountOnly = Chance(15),
            MinModRevision = Chance(10) ? Near() : 0,
            MaxModRevision = Chance(10) ? Near() : 0,
            MinCreateRevision = Chance(10) ? Near() : 0,
            MaxCreateRevision = Chance(10) ? Near() : 0,
        };

        private DeleteRangeRequest Delete() => new() { Key = Key(), RangeEnd = Chance(60) ? End() : ByteString.Empty, PrevKv = Chance(40) };

        private TxnRequest Txn(int depth)
        {
            TxnRequest txn = new();
            txn.Compare.AddRange(Many(0, 3, Compare));
            txn.Success.AddRange(Many(0, 4, () => Operation(depth)));
            txn.Failure.AddRange(Many(0, 3, () => Operation(depth)));
            return txn;
        }

        private List<T> Many<T>(int from, int to, Func<T> make) => [.. Enumerable.Range(0, prng.NextInt(from, to)).Select(_ => make())];

        private RequestOp Operation(int depth) => prng.NextInt(0, 100) switch
        {
            < 40 => new RequestOp { RequestPut = Put() },
            < 70 => new RequestOp { RequestRange = Range() },
            < 90 => new RequestOp { RequestDeleteRange = Delete() },
            < 91 => new RequestOp(),
            _ => depth < DepthMax ? new RequestOp { RequestTxn = Txn(depth + 1) } : new RequestOp { RequestDeleteRange = Delete() },
        };

        private Compare Compare()
        {
            Compare compare = new()
            {
                Key = Key(),
                RangeEnd = Chance(20) ? End() : ByteString.Empty,
                Result = (Compare.Types.CompareResult)prng.NextInt(0, 4),
                Target = (Compare.Types.CompareTarget)prng.NextInt(0, 5),
            };
            if (Chance(10))
            {
                return compare;
            }

            switch (compare.Target)
            {
                case Kapell.Etcd.Protocol.Compare.Types.CompareTarget.Version: compare.Version = prng.NextInt(0, 4); break;
                case Kapell.Etcd.Protocol.Compare.Types.CompareTarget.Create: compare.CreateRevision = Near(); break;
                case Kapell.Etcd.Protocol.Compare.Types.CompareTarget.Mod: compare.ModRevision = Near(); break;
                case Kapell.Etcd.Protocol.Compare.Types.CompareTarget.Value: compare.Value = StoreClient.Bytes(One(Values)); break;
                default: compare.Lease = One(LeaseIds); break;
            }

            return compare;
        }

        private CompactionRequest Compaction()
        {
            long revision = One([Revision - 30, Revision - 10, Revision - 10, Revision, Revision + 5]);
            Compacted = revision <= Revision ? Math.Max(Compacted, revision) : Compacted;
            return new CompactionRequest { Revision = revision, Physical = Chance(50) };
        }
    }
}
