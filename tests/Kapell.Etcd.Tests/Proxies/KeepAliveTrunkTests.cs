using Google.Protobuf;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Proxies.KeepAlives;
using Xunit;

namespace Kapell.Etcd.Tests.Proxies;

/// <summary>Many clients' keep-alives on one stream: each hears what it would hear alone, and the member is asked no more than once for all who wait.</summary>
public sealed class KeepAliveTrunkTests
{
    private readonly Queue<LeaseKeepAliveRequest> _waiting = new();
    private readonly Queue<LeaseKeepAliveRequest> _sent = new();
    private readonly KeepAliveTrunk _trunk;
    private long _time;

    public KeepAliveTrunkTests() => _trunk = new KeepAliveTrunk(request => _waiting.Enqueue((LeaseKeepAliveRequest)request));

    [Fact]
    public async Task Those_of_one_lease_that_wait_are_asked_once()
    {
        Client[] clients = [new(), new(), new()];
        foreach (Client client in clients)
        {
            Ask(client, 7);
        }

        Assert.Single(_waiting);
        Send();
        Answer();
        foreach (Client client in clients)
        {
            Assert.Equal([7], (await client.HeardAsync()).Select(static a => a.ID));
        }
    }

    /// <summary>A lease may have been renewed for the first, and have ended, before the second asks.</summary>
    [Fact]
    public async Task Nobody_joins_what_is_sent()
    {
        Client first = new();
        Client second = new();
        Ask(first, 7);
        Send();
        Ask(second, 7);
        Assert.Single(_waiting);
        Answer();
        Assert.False(second.Branch.IsBusy);
        Send();
        Answer();
        Assert.Single(await first.HeardAsync());
        Assert.Single(await second.HeardAsync());
    }

    [Fact]
    public async Task Who_has_asked_all_ends_with_the_last_answer()
    {
        Client client = new();
        Ask(client, 1);
        Ask(client, 2);
        Send();
        Send();
        _trunk.AskedAll(client.Branch);
        Answer();
        Answer();
        await client.Branch.SendAsync(client, TestContext.Current.CancellationToken);
        Assert.Equal([1, 2], client.Heard.Select(static a => a.ID));
        Client silent = new();
        _trunk.AskedAll(silent.Branch);
        await silent.Branch.SendAsync(silent, TestContext.Current.CancellationToken);
        Assert.Empty(silent.Heard);
    }

    [Fact]
    public void Who_asks_without_end_is_not_heard_on()
    {
        Client client = new();
        for (int i = 0; i < 1024; i++)
        {
            Assert.False(client.Branch.IsBusy);
            Ask(client, 7);
        }

        Assert.True(client.Branch.IsBusy);
        Send();
        Answer();
        Assert.False(client.Branch.IsBusy);
    }

    [Fact]
    public void An_answer_to_nothing_is_an_error()
    {
        byte[] answer = new LeaseKeepAliveResponse { ID = 7 }.ToByteArray();
        Assert.Throws<InvalidDataException>(() => _trunk.Received(answer));
        Client client = new();
        Ask(client, 7);
        Assert.Throws<InvalidDataException>(() => _trunk.Received(answer));
        Ask(client, 8);
        Send();
        Send();
        Assert.Throws<InvalidDataException>(() => _trunk.Received(new LeaseKeepAliveResponse { ID = 8 }.ToByteArray()));
        Assert.Throws<InvalidProtocolBufferException>(() => _trunk.Take(client.Branch, [0xff]));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Each_hears_what_it_would_hear_alone(ulong seed)
    {
        Prng prng = new(seed);
        for (int round = 0; round < 50; round++)
        {
            List<Client> clients = [new()];
            List<Client> gone = [];
            for (int step = 0; step < 300; step++)
            {
                Client client = clients[prng.NextInt(0, clients.Count)];
                switch (prng.NextInt(0, 10))
                {
                    case 0 when clients.Count < 5:
                        clients.Add(new Client());
                        break;
                    case 1 when clients.Count > 1 && prng.Chance(0.2):
                        _trunk.Leave(client.Branch);
                        clients.Remove(client);
                        gone.Add(client);
                        break;
                    case 2 or 3 or 4:
                        Ask(client, prng.NextInt(1, 4));
                        break;
                    case 5 or 6 when _waiting.Count > 0:
                        Send();
                        break;
                    case 7 or 8 when _sent.Count > 0:
                        Answer();
                        break;
                }
            }

            while (_waiting.Count + _sent.Count > 0)
            {
                Assert.True(_waiting.Select(static r => r.ID).Distinct().Count() == _waiting.Count, "one lease waits twice");
                while (_waiting.Count > 0)
                {
                    Send();
                }

                Answer();
            }

            foreach (Client client in clients)
            {
                client.Check(await client.HeardAsync(), whole: true);
            }

            foreach (Client client in gone)
            {
                client.Check(await client.HeardAsync(), whole: false);
            }
        }
    }

    private void Ask(Client client, long lease)
    {
        client.Asked.Add((lease, ++_time));
        _trunk.Take(client.Branch, new LeaseKeepAliveRequest { ID = lease }.ToByteArray());
    }

    private void Send()
    {
        LeaseKeepAliveRequest request = _waiting.Dequeue();
        _trunk.Sends(request);
        _sent.Enqueue(request);
    }

    /// <summary>The member takes and answers the next; its answer says when that was.</summary>
    private void Answer() => _trunk.Received(new LeaseKeepAliveResponse { ID = _sent.Dequeue().ID, TTL = ++_time }.ToByteArray());

    private sealed class Client : IServerStreamWriter<byte[]>
    {
        public KeepAliveBranch Branch { get; } = new();

        /// <summary>With the time at which it was.</summary>
        public List<(long Lease, long Time)> Asked { get; } = [];

        public List<LeaseKeepAliveResponse> Heard { get; } = [];

        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(byte[] message) => WriteAsync(message, CancellationToken.None);

        public Task WriteAsync(byte[] message, CancellationToken cancellationToken)
        {
            Heard.Add(LeaseKeepAliveResponse.Parser.ParseFrom(message));
            return Task.CompletedTask;
        }

        public async Task<IReadOnlyList<LeaseKeepAliveResponse>> HeardAsync()
        {
            Branch.End(null);
            await Branch.SendAsync(this, TestContext.Current.CancellationToken);
            return Heard;
        }

        /// <summary>One answer for each request of a lease, in order, each carried out after it was asked for.</summary>
        public void Check(IReadOnlyList<LeaseKeepAliveResponse> heard, bool whole)
        {
            foreach (IGrouping<long, (long Lease, long Time)> lease in Asked.GroupBy(static a => a.Lease))
            {
                long[] asked = [.. lease.Select(static a => a.Time)];
                long[] answered = [.. heard.Where(a => a.ID == lease.Key).Select(static a => a.TTL)];
                Assert.True(whole ? answered.Length == asked.Length : answered.Length <= asked.Length);
                Assert.All(answered.Zip(asked), static pair => Assert.True(pair.First > pair.Second, "renewed before it was asked for"));
            }
        }
    }
}
