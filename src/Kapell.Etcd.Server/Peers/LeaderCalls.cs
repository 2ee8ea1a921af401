using System.Collections.Concurrent;
using System.Net;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Role = Kapell.Raft.Role;

namespace Kapell.Etcd.Server.Peers;

/// <summary>
/// What only the leader can do because it is not in the log: the time of leases, and judging whether a learner has caught up. Done here
/// when we lead, otherwise passed to the leader. etcd: lease/leasehttp, etcdhttp/peer.go
/// </summary>
public sealed class LeaderCalls
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan RetryPause = TimeSpan.FromMilliseconds(50);

    // Of a stream on which the answer may have been lost: then it is asked for by a request of HTTP, which hears of that.
    private static readonly TimeSpan StreamPatience = TimeSpan.FromSeconds(1);

    // etcd: server.go readyPercentThreshold
    private const double ReadyShare = 0.9;

    private readonly ReplicaHost _host;
    private readonly PeerTransport? _transport;
    private readonly ConcurrentDictionary<string, long> _failedPromotions = new(StringComparer.Ordinal); // By words of our own: few.
    private readonly ForwardedRenewals _forwarded;
    private volatile Question? _question; // The one on a stream that waits for its answer.
    private ulong _lastQuestion;
    private long _promotions;

    /// <param name="firstQuestion">Random: a late answer to an earlier life of this member must not be taken for one to this.</param>
    internal LeaderCalls(ReplicaHost host, PeerTransport? transport, ulong firstQuestion)
    {
        (_host, _transport, _lastQuestion) = (host, transport, firstQuestion);
        _forwarded = new ForwardedRenewals(AskToRenewAsync);
    }

    /// <summary>Renews a lease for a client of this member; the header is this member's own.</summary>
    public Task<(EtcdError? Error, LeaseKeepAliveResponse? Reply)> RenewAsync(long id, CancellationToken cancellation) =>
        ByLeaderAsync(() => RenewHereAsync(id, cancellation), _ => ForwardAsync(id, cancellation), cancellation);

    public Task<(EtcdError? Error, LeaseTimeToLiveResponse? Reply)> TimesAsync(LeaseTimeToLiveRequest request, CancellationToken cancellation) =>
        ByLeaderAsync(
            () => TimesHereAsync(request, cancellation),
            leader => AskAsync(leader, PeerProtocol.TimeToLivePath, request, LeaseTimeToLiveResponse.Parser, cancellation), cancellation);

    public Task<(EtcdError? Error, MemberPromoteResponse? Reply)> PromoteAsync(ulong id, CancellationToken cancellation) => ByLeaderAsync(
        () => PromoteHereAsync(id, cancellation),
        leader => AskAsync(
            leader, PeerProtocol.PromotePath + PeerProtocol.Hex(id), new MemberPromoteRequest { ID = id }, MemberPromoteResponse.Parser, cancellation),
        cancellation);

    /// <summary>For a member that follows and is older than <see cref="PeerProtocol.RenewalsPath"/>, and for clients of this one.</summary>
    internal async Task<(EtcdError? Error, LeaseKeepAliveResponse? Reply)> RenewHereAsync(long id, CancellationToken cancellation)
    {
        LeaseRenewal renewal = await RenewByLeaderAsync([id], cancellation);
        return renewal.Error is not null ? (renewal.Error, null) : (null, Renewed(id, renewal.Ttls[0], renewal.Revision));
    }

    /// <summary>For a member that follows.</summary>
    internal async Task<(EtcdError? Error, LeasesRenewed? Reply)> RenewHereAsync(LeasesRenewal request, CancellationToken cancellation)
    {
        LeaseRenewal renewal = await RenewByLeaderAsync([.. request.Ids], cancellation);
        return renewal.Error is not null ? (renewal.Error, null) : (null, new LeasesRenewed { Ttls = { renewal.Ttls } });
    }

    private async Task<LeaseRenewal> RenewByLeaderAsync(long[] ids, CancellationToken cancellation)
    {
        LeaseRenewal renewal = await _host.RenewLeasesAsync(ids, cancellation);

        // One that was deposed without knowing, after a pause perhaps, must not promise what the next leader does not know of. Whoever is
        // elected after this gives every lease its whole time from then on, which is later (etcd: v3_server.go ensureLeadership). A follower
        // gets through the barrier too, by the next leader.
        bool deposed = renewal is { Error: null, Proven: false }
            && (await _host.ReadBarrierAsync(cancellation, prompt: true) is not null
                || _host.Reading(() => _host.Replica.Raft.Role != Role.Leader || _host.Replica.Raft.Term != renewal.Term));
        return deposed ? LeaseRenewal.Refused(EtcdError.NotLeader) : renewal;
    }

    private LeaseKeepAliveResponse Renewed(long id, long ttl, long revision) => new() { Header = _host.Header.ToMessage(revision), ID = id, TTL = ttl };

    private async Task<(EtcdError? Error, LeaseKeepAliveResponse? Reply, HttpStatusCode Code)> ForwardAsync(long id, CancellationToken cancellation)
    {
        (EtcdError? error, LeaseKeepAliveResponse? reply) = await _forwarded.RenewAsync(id, cancellation);
        return (error, reply, HttpStatusCode.OK);
    }

    // NotLeader: to be tried again.
    private async Task<(EtcdError? Error, LeaseKeepAliveResponse[] Replies)> AskToRenewAsync(long[] ids)
    {
        MemberId leader = _host.Replica.Raft.Leader;
        if (leader.IsNone || leader == _host.Replica.Raft.Id)
        {
            return (EtcdError.NotLeader, []);
        }

        // etcd: api/v3rpc/lease.go leaseKeepAlive: the revision is this member's, of before the renewal.
        long revision = _host.Reading(() => _host.Store.Revision);
        LeasesRenewal request = new() { Ids = { ids } };
        LeasesRenewed? reply = await AskOnStreamAsync(leader, request);
        EtcdError? error = reply is { Error.Length: > 0 } ? EtcdError.FromText(reply.Error) : null;
        HttpStatusCode code = error is null ? HttpStatusCode.OK : HttpStatusCode.Conflict;
        if (reply is null && _host.Replica.Raft.Leader == leader)
        {
            (error, reply, code) = await AskAsync(leader, PeerProtocol.RenewalsPath, request, LeasesRenewed.Parser, CancellationToken.None);
        }

        return code switch
        {
            HttpStatusCode.OK when reply?.Ttls.Count == ids.Length => (null, [.. ids.Zip(reply.Ttls, (id, ttl) => Renewed(id, ttl, revision))]),
            HttpStatusCode.Conflict => (error, []),
            HttpStatusCode.NotFound => await AskToRenewEachAsync(leader, ids, revision), // It is older than this path.
            _ => (EtcdError.NotLeader, []),
        };
    }

    /// <summary>The answer of the leader to what <see cref="PeerTransport.TryAsk"/> sent it.</summary>
    internal void Answered(MemberId from, LeasesRenewed answer)
    {
        if (_question is { } question && question.Number == answer.Number && question.Leader == from)
        {
            question.TrySetResult(answer);
        }
    }

    // Null: it must be asked in another way, or somebody else leads. One at a time.
    private async Task<LeasesRenewed?> AskOnStreamAsync(MemberId leader, LeasesRenewal request)
    {
        request.Number = unchecked(++_lastQuestion);
        Question question = new(leader, request.Number);
        _question = question;
        if (!_transport!.TryAsk(leader, request))
        {
            return null;
        }

        long began = _host.Time.GetTimestamp();
        using ITimer watch = _host.Time.CreateTimer(
            _ =>
            {
                if (_host.Replica.Raft.Leader != leader || _host.Time.GetElapsedTime(began) > StreamPatience)
                {
                    question.TrySetResult(null);
                }
            },
            null, RetryPause, RetryPause);
        return await question.Task;
    }

    private async Task<(EtcdError? Error, LeaseKeepAliveResponse[] Replies)> AskToRenewEachAsync(MemberId leader, long[] ids, long revision)
    {
        var answers = await Task.WhenAll(ids.Select(id => AskAsync(
            leader, PeerProtocol.KeepAlivePath, new LeaseKeepAliveRequest { ID = id }, LeaseKeepAliveResponse.Parser, CancellationToken.None)));
        return Array.TrueForAll(answers, static a => a.Reply is not null)
            ? (null, Array.ConvertAll(answers, a => Renewed(a.Reply!.ID, a.Reply.TTL, revision)))
            : (EtcdError.NotLeader, []);
    }

    internal async Task<(EtcdError? Error, LeaseTimeToLiveResponse? Reply)> TimesHereAsync(LeaseTimeToLiveRequest request, CancellationToken cancellation)
    {
        // A leader that was deposed without knowing must not tell the time.
        EtcdError? error = await _host.ReadBarrierAsync(cancellation);
        if (error is not null)
        {
            return (error, null);
        }

        return _host.Reading<(EtcdError?, LeaseTimeToLiveResponse?)>(() =>
        {
            if (_host.Replica.Raft.Role != Role.Leader)
            {
                return (EtcdError.NotLeader, null);
            }

            LeaseTimeToLiveResponse response = new() { Header = _host.Header.ToMessage(_host.Store.Revision), ID = request.ID };
            bool found = _host.Store.Leases.TryGetTimes(request.ID, _host.NowMilliseconds, out long granted, out long remaining);
            response.GrantedTTL = granted;
            response.TTL = remaining;
            if (found && request.Keys)
            {
                response.Keys.AddRange(_host.Store.KeysOfLease(request.ID).Select(static k => UnsafeByteOperations.UnsafeWrap(k)));
            }

            return (null, response);
        });
    }

    /// <summary>Learners that were made voters because somebody asked this member for it while it led, since the start.</summary>
    public long Promotions => Interlocked.Read(ref _promotions);

    /// <summary>What refused others, with how often.</summary>
    public IEnumerable<(string Reason, long Times)> FailedPromotions =>
        _failedPromotions.OrderBy(static f => f.Key, StringComparer.Ordinal).Select(static f => (f.Key, f.Value));

    internal async Task<(EtcdError? Error, MemberPromoteResponse? Reply)> PromoteHereAsync(ulong id, CancellationToken cancellation)
    {
        (EtcdError? Error, MemberPromoteResponse? Reply) result = await TryPromoteAsync(id, cancellation);
        if (result.Error is null)
        {
            Interlocked.Increment(ref _promotions);
        }
        else if (result.Error != EtcdError.NotLeader)
        {
            _failedPromotions.AddOrUpdate(result.Error.Text, 1, static (_, times) => times + 1);
        }

        return result;
    }

    private async Task<(EtcdError? Error, MemberPromoteResponse? Reply)> TryPromoteAsync(ulong id, CancellationToken cancellation)
    {
        EtcdError? refusal = _host.Reading(() => JudgePromotion(_host.Replica, id));
        if (refusal is not null)
        {
            return (refusal, null);
        }

        ApplyOutcome outcome = await _host.ChangeMembershipAsync(ConfChangeKind.AddVoter, id, null, cancellation);
        if (outcome.Error is not null)
        {
            return (outcome.Error, null);
        }

        MemberPromoteResponse response = new() { Header = _host.Header.ToMessage(0) };
        response.Members.AddRange(_host.Reading(() => _host.Replica.Applier.Members.All.ToArray()));
        return (null, response);
    }

    private static EtcdError? JudgePromotion(Replica replica, ulong id)
    {
        if (replica.Raft.Role != Role.Leader)
        {
            return EtcdError.NotLeader;
        }

        Member? member = replica.Applier.Members.Find(id);
        if (member is null)
        {
            return EtcdError.MemberNotFound;
        }

        if (!member.IsLearner)
        {
            return EtcdError.MemberNotLearner;
        }

        RaftStatus status = replica.Raft.Status();
        MemberProgress progress = status.Members.FirstOrDefault(m => m.Id.Value == id);
        return progress.RecentActive && progress.Match.Value >= status.Last.Index.Value * ReadyShare ? null : EtcdError.LearnerNotReady;
    }

    private async Task<(EtcdError? Error, T? Reply)> ByLeaderAsync<T>(
        Func<Task<(EtcdError? Error, T? Reply)>> here, Func<MemberId, Task<(EtcdError? Error, T? Reply, HttpStatusCode Code)>> ask,
        CancellationToken cancellation)
        where T : class
    {
        long begun = _host.Time.GetTimestamp();
        EtcdError last = EtcdError.NoLeader;
        while (_host.Time.GetElapsedTime(begun) < Patience)
        {
            MemberId leader = _host.Replica.Raft.Leader;
            if (leader == _host.Replica.Raft.Id)
            {
                (EtcdError? error, T? reply) = await here();
                if (error != EtcdError.NotLeader)
                {
                    return (error, reply);
                }
            }
            else if (!leader.IsNone && _transport is not null)
            {
                (EtcdError? error, T? reply, HttpStatusCode code) = await ask(leader);
                if (code is HttpStatusCode.OK or HttpStatusCode.Conflict && error != EtcdError.NotLeader)
                {
                    return (error, reply);
                }

                last = EtcdError.Timeout;
            }

            await Task.Delay(RetryPause, _host.Time, cancellation);
        }

        return (last, null);
    }

    // Code: OK, the reply; Conflict, the leader's refusal; 0, nobody answered.
    private async Task<(EtcdError? Error, T? Reply, HttpStatusCode Code)> AskAsync<T>(
        MemberId leader, string path, IMessage request, MessageParser<T> parser, CancellationToken cancellation)
        where T : class, IMessage<T>
    {
        // One that stands still must not hold up who waits when somebody else leads.
        using CancellationTokenSource late = new(Patience, _host.Time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellation);
        await using ITimer watch = _host.Time.CreateTimer(
            _ =>
            {
                if (_host.Replica.Raft.Leader != leader)
                {
                    late.Cancel();
                }
            },
            null, RetryPause, RetryPause);
        foreach (string url in _transport!.UrlsOf(leader.Value))
        {
            try
            {
                using HttpRequestMessage message = _transport.Context.Request(HttpMethod.Post, url, path, leader);
                message.Content = new ByteArrayContent(request.ToByteArray());
                using HttpResponseMessage response = await _transport.Context.Client.SendAsync(message, either.Token);
                byte[] body = await response.Content.ReadAsByteArrayAsync(either.Token);
                return response.StatusCode == HttpStatusCode.OK
                    ? (null, parser.ParseFrom(body), HttpStatusCode.OK)
                    : (EtcdError.FromText(System.Text.Encoding.UTF8.GetString(body)), null, response.StatusCode);
            }
            catch (Exception e) when (e is HttpRequestException or InvalidProtocolBufferException)
            {
                // The next address, or the next try.
                continue;
            }
            catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
            {
                break;
            }
        }

        return (null, null, default);
    }

    private sealed class Question(MemberId leader, ulong number) : TaskCompletionSource<LeasesRenewed?>
    {
        public MemberId Leader => leader;

        public ulong Number => number;
    }
}
