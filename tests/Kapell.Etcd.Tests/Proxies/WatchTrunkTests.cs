using Google.Protobuf;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Proxies.Watches;
using Xunit;

namespace Kapell.Etcd.Tests.Proxies;

/// <summary>Many clients' watches on one stream: each sees what it would see alone, and the member sends each event once.</summary>
public sealed class WatchTrunkTests
{
    private static readonly (string Key, string End)[] Ranges = [("a", ""), ("b", ""), ("a", "c"), ("a", "z")];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public async Task Every_client_sees_what_it_would_see_alone(ulong seed)
    {
        for (ulong round = 0; round < 40; round++)
        {
            World world = new(new Prng((seed * 1000) + round));
            for (int step = 0; step < 400; step++)
            {
                world.Step();
            }

            await world.EndAsync();
        }
    }

    [Fact]
    public async Task Watches_of_one_range_are_one_at_the_member()
    {
        World world = new(new Prng(1));
        Client[] clients = [.. Enumerable.Range(0, 5).Select(_ => world.NewClient())];
        foreach (Client client in clients)
        {
            world.Create(client, ("a", "z"), start: 0);
            world.Settle();
        }

        Assert.Equal(1, world.Trunk.Feeds);
        Assert.Equal(5, world.Trunk.Receivers);
        world.Put("b");
        world.Settle();
        Assert.Equal(4, world.Trunk.Spared);

        // Whoever was first may go.
        world.Cancel(clients[0], 0);
        world.Settle();
        world.Leave(clients[1]);
        world.Put("c");
        world.Settle();
        Assert.Equal((1, 3), (world.Trunk.Feeds, world.Trunk.Receivers));
        foreach (Client client in clients[2..])
        {
            world.Leave(client);
        }

        world.Settle();
        Assert.Equal((0, 0), (world.Trunk.Feeds, world.Trunk.Receivers));
        Assert.Equal(0, world.Member.Watches);
        await world.EndAsync();
    }

    /// <summary>One that has long history to read must not hold up one of the present.</summary>
    [Fact]
    public async Task A_watch_of_the_past_joins_when_it_is_there()
    {
        World world = new(new Prng(2));
        for (int i = 0; i < 20; i++)
        {
            world.Put("a");
        }

        Client past = world.NewClient();
        world.Create(past, ("a", ""), start: 1);
        world.Member.TakeAll();
        world.DeliverAll();
        Client present = world.NewClient();
        world.Create(present, ("a", ""), start: 0);
        world.Member.TakeAll();
        world.DeliverAll();
        Assert.Equal(2, world.Trunk.Feeds);
        world.Settle();
        Assert.Equal(1, world.Trunk.Feeds);
        await world.EndAsync();
    }

    [Fact]
    public async Task Numbers_that_are_in_use_are_refused_in_turn()
    {
        World world = new(new Prng(3));
        Client client = world.NewClient();
        world.Create(client, ("a", ""), start: 0, id: 7);
        world.Create(client, ("b", ""), start: 0, id: 7);
        world.Create(client, ("b", ""), start: 0);
        world.Settle();
        IReadOnlyList<WatchResponse> heard = await client.HeardAsync();
        Assert.Equal([7, -1, 0], heard.Select(static r => r.WatchId));
        Assert.Equal("mvcc: duplicate watch ID provided on the WatchStream", heard[1].CancelReason);
        Assert.True(heard[1].Created && heard[1].Canceled);
    }

    [Fact]
    public async Task Only_who_asked_for_progress_hears_of_it()
    {
        World world = new(new Prng(4));
        Client asks = world.NewClient();
        Client wants = world.NewClient();
        Client neither = world.NewClient();
        world.Create(asks, ("a", ""), start: 0);
        world.Create(wants, ("a", ""), start: 0, progress: true);
        world.Create(neither, ("a", ""), start: 0);
        world.Settle();
        world.Trunk.AskProgress(asks.Branch);
        world.Settle();
        world.Member.NotifyProgress();
        world.Settle();
        Assert.Equal(-1, Assert.Single((await asks.HeardAsync()).Skip(1)).WatchId);
        Assert.Equal(0, Assert.Single((await wants.HeardAsync()).Skip(1)).WatchId);
        Assert.Single(await neither.HeardAsync());
    }

    private static bool IsIn((string Key, string End) range, string key) =>
        range.End.Length == 0 ? key == range.Key : string.CompareOrdinal(key, range.Key) >= 0 && string.CompareOrdinal(key, range.End) < 0;

    private sealed class World
    {
        private readonly Prng _prng;
        private readonly List<Client> _clients = [];
        private readonly List<Client> _gone = [];

        public World(Prng prng)
        {
            _prng = prng;
            Member = new Member(prng);
            Trunk = new WatchTrunk(request => Member.Asked.Enqueue(WatchRequest.Parser.ParseFrom(request.ToByteArray())));
        }

        public Member Member { get; }

        public WatchTrunk Trunk { get; }

        public Client NewClient()
        {
            Client client = new();
            _clients.Add(client);
            return client;
        }

        public void Create(Client client, (string Key, string End) range, long start, long id = 0, bool progress = false, bool fragment = false)
        {
            WatchCreateRequest request = new()
            {
                Key = ByteString.CopyFromUtf8(range.Key),
                RangeEnd = ByteString.CopyFromUtf8(range.End),
                StartRevision = start,
                WatchId = id,
                ProgressNotify = progress,
                Fragment = fragment,
            };
            client.Asked.Add((range, start));
            Trunk.Create(client.Branch, request);
        }

        public void Cancel(Client client, long id)
        {
            client.Canceled.Add(id);
            Trunk.Cancel(client.Branch, id);
        }

        public void Leave(Client client)
        {
            _clients.Remove(client);
            _gone.Add(client);
            Trunk.Leave(client.Branch);
        }

        public void Put(params string[] keys) => Member.Put(keys);

        public void Step()
        {
            switch (_prng.NextInt(0, 12))
            {
                case 0 when _clients.Count < 6:
                    NewClient();
                    break;
                case 0 or 1 when _clients.Count > 0:
                    Create(
                        _clients[_prng.NextInt(0, _clients.Count)], Ranges[_prng.NextInt(0, Ranges.Length)],
                        _prng.Chance(0.4) ? 0 : Math.Max(1, Member.Revision + _prng.NextInt(-8, 4)), fragment: _prng.Chance(0.2));
                    break;
                case 2 when _clients.Count > 0 && _prng.Chance(0.4):
                    Cancel(_clients[_prng.NextInt(0, _clients.Count)], _prng.NextInt(0, 4));
                    break;
                case 3 when _clients.Count > 0 && _prng.Chance(0.1):
                    Leave(_clients[_prng.NextInt(0, _clients.Count)]);
                    break;
                case 4 when _prng.Chance(0.1):
                    Member.Compact();
                    break;
                case 5 or 6:
                    Put([.. Enumerable.Range(0, _prng.NextInt(1, 4)).Select(_ => ((char)('a' + _prng.NextInt(0, 4))).ToString())]);
                    break;
                case 7:
                    Member.Take();
                    break;
                case 8 or 9:
                    Member.Emit();
                    break;
                default:
                    Deliver();
                    break;
            }
        }

        public void Deliver()
        {
            if (Member.Said.TryDequeue(out WatchResponse? response))
            {
                Trunk.Received(response.ToByteArray());
            }
        }

        public void DeliverAll()
        {
            while (Member.Said.Count > 0)
            {
                Deliver();
            }
        }

        /// <summary>Until nothing is under way.</summary>
        public void Settle()
        {
            while (Member.Asked.Count > 0 || Member.Said.Count > 0 || Member.HasMore)
            {
                Member.TakeAll();
                Member.Emit();
                DeliverAll();
            }
        }

        public async Task EndAsync()
        {
            Settle();
            Put("a", "b");
            Settle();
            int alive = 0;
            HashSet<(string, string)> ranges = [];
            foreach (Client client in _clients.Concat(_gone))
            {
                alive += client.Check(await client.HeardAsync(), Member, whole: _clients.Contains(client), ranges);
            }

            Assert.Equal(alive, Trunk.Receivers);

            // With and without fragments.
            Assert.True(Trunk.Feeds <= ranges.Count * 2, $"{Trunk.Feeds} watches at the member for {ranges.Count} ranges");
            Assert.Equal(Trunk.Feeds, Member.Watches);
        }
    }

    private sealed class Client
    {
        private readonly Writer _writer = new();

        public WatchBranch Branch { get; } = new();

        /// <summary>In order, as the answers come.</summary>
        public List<((string Key, string End) Range, long Start)> Asked { get; } = [];

        /// <summary>What it asked the end of, whether there was such a watch or not yet.</summary>
        public HashSet<long> Canceled { get; } = [];

        public async Task<IReadOnlyList<WatchResponse>> HeardAsync()
        {
            Branch.End(null);
            await Branch.SendAsync(_writer, TestContext.Current.CancellationToken);
            return _writer.Heard;
        }

        /// <summary>How many of its watches are alive.</summary>
        /// <param name="whole">It is there still, and must have heard everything.</param>
        public int Check(IReadOnlyList<WatchResponse> heard, Member member, bool whole, HashSet<(string, string)> ranges)
        {
            Dictionary<long, ((string Key, string End) Range, long Place)> alive = [];
            int answered = 0;
            foreach (WatchResponse response in heard)
            {
                if (response.Created)
                {
                    ((string, string) range, long start) = Asked[answered++];
                    Assert.False(response.Canceled);
                    alive.Add(response.WatchId, (range, Member.PlaceOf(start == 0 ? response.Header.Revision + 1 : start)));
                    continue;
                }

                ((string Key, string End) watched, long next) = alive[response.WatchId];
                foreach (Event one in response.Events)
                {
                    // The next of the range, and no other.
                    (long place, string key) = member.After(watched, next);
                    Assert.Equal((place, key), (Member.PlaceOf(one.Kv.ModRevision) + (place % Member.PlacesOfRevision), one.Kv.Key.ToStringUtf8()));
                    next = place + 1;
                    alive[response.WatchId] = (watched, next);
                }

                if (response.Canceled)
                {
                    Assert.True(response.CompactRevision > 0 || Canceled.Contains(response.WatchId), "nobody ended it");
                    alive.Remove(response.WatchId);
                }
            }

            if (!whole)
            {
                return 0;
            }

            foreach (((string Key, string End) range, long next) in alive.Values)
            {
                Assert.Equal(long.MaxValue, member.After(range, next).Place);
                ranges.Add(range);
            }

            return alive.Count;
        }
    }

    private sealed class Writer : IServerStreamWriter<byte[]>
    {
        public List<WatchResponse> Heard { get; } = [];

        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(byte[] message) => WriteAsync(message, CancellationToken.None);

        public Task WriteAsync(byte[] message, CancellationToken cancellationToken)
        {
            Heard.Add(WatchResponse.Parser.ParseFrom(message));
            return Task.CompletedTask;
        }
    }

    /// <summary>One member's side of a Watch stream: answers in turn, events of each watch in order and of different ones in any.</summary>
    private sealed class Member(Prng prng)
    {
        public const int PlacesOfRevision = 256;

        private readonly List<(long Revision, string Key)> _events = [];
        private readonly SortedDictionary<long, Watch> _watches = [];
        private long _compacted;

        public Queue<WatchRequest> Asked { get; } = new();

        public Queue<WatchResponse> Said { get; } = new();

        public long Revision { get; private set; } = 1;

        public int Watches => _watches.Count;

        public bool HasMore => _watches.Values.Any(HasWork);

        public void Put(string[] keys)
        {
            Revision++;
            foreach (string key in keys.Distinct())
            {
                _events.Add((Revision, key));
            }
        }

        public void Compact() => _compacted = Math.Max(_compacted, Revision - prng.NextInt(0, 5));

        public void TakeAll()
        {
            while (Asked.Count > 0)
            {
                Take();
            }
        }

        public void Take()
        {
            if (!Asked.TryDequeue(out WatchRequest? request))
            {
                return;
            }

            switch (request.RequestUnionCase)
            {
                case WatchRequest.RequestUnionOneofCase.CreateRequest:
                    WatchCreateRequest create = request.CreateRequest;
                    long start = create.StartRevision == 0 ? Revision + 1 : create.StartRevision;
                    _watches.Add(create.WatchId, new Watch((create.Key.ToStringUtf8(), create.RangeEnd.ToStringUtf8()), create.Fragment, create.ProgressNotify) { Next = start });
                    Say(new WatchResponse { WatchId = create.WatchId, Created = true });
                    break;
                case WatchRequest.RequestUnionOneofCase.CancelRequest when _watches.Remove(request.CancelRequest.WatchId):
                    Say(new WatchResponse { WatchId = request.CancelRequest.WatchId, Canceled = true });
                    break;
                case WatchRequest.RequestUnionOneofCase.ProgressRequest:
                    Say(new WatchResponse { WatchId = -1 });
                    break;
            }
        }

        public void NotifyProgress()
        {
            foreach ((long id, Watch watch) in _watches)
            {
                if (watch.Progress)
                {
                    Say(new WatchResponse { WatchId = id });
                }
            }
        }

        /// <summary>One watch sends what one or a few revisions have for it.</summary>
        public void Emit()
        {
            long[] ready = [.. _watches.Where(w => HasWork(w.Value)).Select(static w => w.Key)];
            if (ready.Length == 0)
            {
                return;
            }

            long id = ready[prng.NextInt(0, ready.Length)];
            Watch watch = _watches[id];
            if (watch.Next < _compacted)
            {
                _watches.Remove(id);
                Say(new WatchResponse { WatchId = id, Canceled = true, CompactRevision = _compacted });
                return;
            }

            long[] revisions = [.. Of(watch).Select(static e => e.Revision).Distinct().Take(prng.NextInt(1, 4))];
            List<(long Revision, string Key)> batch = [.. Of(watch).Where(e => e.Revision <= revisions[^1])];
            watch.Next = revisions[^1] + 1;
            int size = watch.Fragment ? 1 : batch.Count;
            for (int i = 0; i < batch.Count; i += size)
            {
                WatchResponse response = new() { WatchId = id, Fragment = i + size < batch.Count };
                response.Events.AddRange(batch.Skip(i).Take(size).Select(static e =>
                    new Event { Kv = new KeyValue { Key = ByteString.CopyFromUtf8(e.Key), ModRevision = e.Revision } }));
                Say(response);
            }
        }

        public static long PlaceOf(long revision) => revision * PlacesOfRevision;

        /// <summary>Place and key of the first event of the range from there on.</summary>
        public (long Place, string Key) After((string Key, string End) range, long from)
        {
            int within = 0;
            long last = 0;
            foreach ((long revision, string key) in _events)
            {
                within = revision == last ? within + 1 : 0;
                last = revision;
                long place = PlaceOf(revision) + within;
                if (place >= from && IsIn(range, key))
                {
                    return (place, key);
                }
            }

            return (long.MaxValue, "");
        }

        private bool HasWork(Watch watch) => Of(watch).Any();

        private IEnumerable<(long Revision, string Key)> Of(Watch watch) => _events.Where(e => e.Revision >= watch.Next && IsIn(watch.Range, e.Key));

        private void Say(WatchResponse response)
        {
            response.Header = new ResponseHeader { Revision = Revision };
            Said.Enqueue(response);
        }

        private sealed record Watch((string Key, string End) Range, bool Fragment, bool Progress)
        {
            public long Next { get; set; }
        }
    }
}
