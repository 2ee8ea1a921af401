using System.Diagnostics;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Faults.World;
using Kapell.Sim.Checks;
using Member = Kapell.Faults.World.Member;

namespace Kapell.Faults.Clients;

/// <summary>
/// A watch of all keys of a round that is taken up again at another member whenever it breaks. Its events must come in order, once, and
/// all changes of one revision together; a bookmark must not speak of what has not come yet.
/// </summary>
internal sealed class Watcher(TestCluster cluster, History history, long firstRevision, Prng prng)
{
    private readonly List<Change> _changes = [];
    private readonly Dictionary<string, long> _deletions = [];
    private long _next = firstRevision;

    public IReadOnlyList<Change> Changes => _changes;

    /// <summary>When each deletion was heard of, in ticks of the stopwatch.</summary>
    public IReadOnlyDictionary<string, long> Deletions => _deletions;

    public int Resumed { get; private set; } = -1;

    /// <summary>Until the change of this key has come.</summary>
    /// <param name="only">Asks only this member.</param>
    public async Task RunAsync(string lastKey, int? only, CancellationToken late)
    {
        while (_changes.Count == 0 || _changes[^1].Key != lastKey)
        {
            Resumed++;
            Member member = cluster.Members[only ?? prng.NextInt(0, cluster.Members.Count)];
            try
            {
                // A stream that nobody hears of any more is given up after a while, as a client with keep-alives would.
                using CancellationTokenSource life = CancellationTokenSource.CreateLinkedTokenSource(late);
                life.CancelAfter(TimeSpan.FromSeconds(prng.NextInt(3, 9)));
                using AsyncDuplexStreamingCall<WatchRequest, WatchResponse> call = member.Watch.Watch(cancellationToken: life.Token);
                await FollowAsync(call, lastKey, life.Token); // What breaks while the request is written is an IOException.
            }
            catch (Exception e) when (e is RpcException or IOException && !late.IsCancellationRequested)
            {
                await Task.Delay(20, late);
            }
            catch (OperationCanceledException) when (!late.IsCancellationRequested)
            {
                continue;
            }
        }
    }

    private async Task FollowAsync(AsyncDuplexStreamingCall<WatchRequest, WatchResponse> call, string lastKey, CancellationToken cancellation)
    {
        WatchCreateRequest create = new()
        {
            Key = TestCluster.Bytes(history.Prefix),
            RangeEnd = TestCluster.Bytes(history.Prefix[..^1] + (char)(history.Prefix[^1] + 1)),
            StartRevision = _next,
        };
        await call.RequestStream.WriteAsync(new WatchRequest { CreateRequest = create }, cancellation);
        while (await call.ResponseStream.MoveNext(cancellation))
        {
            WatchResponse response = call.ResponseStream.Current;
            if (response.Canceled)
            {
                throw cluster.Fail($"a watch from {_next} was cancelled: {response}");
            }

            Take(response);
            if (_changes.Count > 0 && _changes[^1].Key == lastKey)
            {
                return;
            }

            if (prng.Chance(0.02))
            {
                await call.RequestStream.WriteAsync(new WatchRequest { ProgressRequest = new WatchProgressRequest() }, cancellation);
            }
        }
    }

    private void Take(WatchResponse response)
    {
        if (response.Events.Count == 0 && !response.Created)
        {
            // A bookmark: nothing up to its revision is still to come.
            _next = Math.Max(_next, response.Header.Revision + 1);
        }

        long before = _next - 1;
        foreach (Event change in response.Events)
        {
            if (change.Kv.ModRevision <= before || change.Kv.ModRevision < _next - 1)
            {
                throw cluster.Fail($"a watch that has all up to {before} got {change.Kv.Key.ToStringUtf8()} of {change.Kv.ModRevision} after {_next - 1}");
            }

            _next = change.Kv.ModRevision + 1;
            bool deleted = change.Type == Event.Types.EventType.Delete;
            string key = change.Kv.Key.ToStringUtf8();
            _changes.Add(new Change(change.Kv.ModRevision, key, deleted ? null : change.Kv.Value.ToStringUtf8()));
            if (deleted)
            {
                _deletions[key] = Stopwatch.GetTimestamp();
            }
        }
    }
}
