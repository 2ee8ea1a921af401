using System.Globalization;
using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Client.Members;

/// <summary>
/// The membership of a cluster, asked of whichever endpoint answers. A change is asked for once: whether an unanswered one was carried out
/// shows in the list of members.
/// </summary>
internal sealed class ClusterAccess : IDisposable
{
    private static readonly TimeSpan ProbeTimeout = TimeSpan.FromSeconds(3);
    private readonly EtcdClientOptions _options;
    private readonly EtcdConnections _connections;
    private readonly TimeProvider _time;
    private readonly Metadata _token = [];

    public ClusterAccess(EtcdClientOptions options, TimeProvider time) => (_options, _connections, _time) = (options, new EtcdConnections(options), time);

    /// <summary>All further calls are this user's.</summary>
    public async Task LogInAsync(string user, string password, CancellationToken cancellation)
    {
        AuthenticateResponse response = await AskAsync(
            (channel, call) => new Auth.AuthClient(channel).AuthenticateAsync(new AuthenticateRequest { Name = user, Password = password }, call), cancellation);
        _token.Add("token", response.Token);
    }

    public async Task<IReadOnlyList<Member>> MembersAsync(CancellationToken cancellation) => (await AskAsync(
        static (channel, call) => new Cluster.ClusterClient(channel).MemberListAsync(new MemberListRequest { Linearizable = true }, call), cancellation)).Members;

    /// <summary>Members that answer on one of their client addresses.</summary>
    public async Task<IReadOnlySet<ulong>> AliveAsync(IReadOnlyList<Member> members, CancellationToken cancellation)
    {
        (ulong Id, bool Alive)[] probes = await Task.WhenAll(members.Select(async m => (m.ID, await AnswersAsync(m, cancellation))));
        return probes.Where(static p => p.Alive).Select(static p => p.Id).ToHashSet();
    }

    /// <param name="peerUrls">Of the new member.</param>
    /// <param name="dead">The voter in whose place it comes: Kapell's store lets it come although that one is down.</param>
    /// <param name="cancellation">Ends the wait.</param>
    public async Task<Member> AddLearnerAsync(IEnumerable<string> peerUrls, ulong dead, CancellationToken cancellation)
    {
        MemberAddRequest request = new() { IsLearner = true };
        request.PeerURLs.AddRange(peerUrls);
        return (await CallAsync((channel, call) => new Cluster.ClusterClient(channel).MemberAddAsync(request, Replacing(call, dead)), cancellation)).Member;
    }

    private static CallOptions Replacing(CallOptions call, ulong dead)
    {
        Metadata headers = [];
        foreach (Metadata.Entry entry in call.Headers ?? [])
        {
            headers.Add(entry);
        }

        headers.Add("kapell-replaces", ReplacementPlan.Hex(dead));
        return call.WithHeaders(headers);
    }

    public async Task PromoteAsync(ulong id, CancellationToken cancellation) => await CallAsync(
        (channel, call) => new Cluster.ClusterClient(channel).MemberPromoteAsync(new MemberPromoteRequest { ID = id }, call), cancellation);

    public async Task RemoveAsync(ulong id, CancellationToken cancellation) => await CallAsync(
        (channel, call) => new Cluster.ClusterClient(channel).MemberRemoveAsync(new MemberRemoveRequest { ID = id }, call), cancellation);

    public void Dispose() => _connections.Dispose();

    /// <summary>What may be asked twice goes to one endpoint after another until one answers.</summary>
    private async Task<T> AskAsync<T>(Func<CallInvoker, CallOptions, AsyncUnaryCall<T>> call, CancellationToken cancellation)
    {
        List<string> failures = [];
        for (int left = _connections.Count; ; left--)
        {
            try
            {
                return await CallAsync(call, cancellation);
            }
            catch (RpcException e) when (e.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded)
            {
                failures.Add(e.Status.Detail);
                if (left <= 1)
                {
                    throw new RpcException(new Status(e.StatusCode, string.Join("; ", failures), e.Status.DebugException));
                }
            }
        }
    }

    private async Task<T> CallAsync<T>(Func<CallInvoker, CallOptions, AsyncUnaryCall<T>> call, CancellationToken cancellation)
    {
        EtcdConnections.Connection connection = _connections.Current;
        try
        {
            return await call(connection.Channel.CreateCallInvoker(), Options(_options.CallTimeout, cancellation));
        }
        catch (RpcException e) when (e.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded)
        {
            _connections.LeaveFailed(connection);
            throw new RpcException(new Status(e.StatusCode, $"{connection.Channel.Target}: {ReasonOf(e.Status)}", e.Status.DebugException), e.Trailers);
        }
    }

    // What gRPC says of an endpoint where nobody listens names neither it nor what the socket said.
    private string ReasonOf(Status status) =>
        status.StatusCode == StatusCode.DeadlineExceeded && status.Detail.Length == 0
            ? string.Create(CultureInfo.InvariantCulture, $"no answer within {_options.CallTimeout.TotalSeconds:0.#} s")
        : status.DebugException?.GetBaseException() is { } cause ? cause.Message
        : status.Detail;

    private async Task<bool> AnswersAsync(Member member, CancellationToken cancellation)
    {
        foreach (string url in member.ClientURLs)
        {
            EtcdConnections.Connection connection = EtcdConnections.Connection.Open(url, _options);
            using var channel = connection.Channel;
            try
            {
                await new Maintenance.MaintenanceClient(channel).StatusAsync(new StatusRequest(), Options(ProbeTimeout, cancellation));
                return true;
            }
            catch (RpcException e) when (e.StatusCode is StatusCode.Unauthenticated or StatusCode.PermissionDenied)
            {
                // It is there, it only does not like us.
                return true;
            }
            catch (RpcException) when (!cancellation.IsCancellationRequested)
            {
                continue;
            }
        }

        return false;
    }

    private CallOptions Options(TimeSpan timeout, CancellationToken cancellation) =>
        new(_token, (_time.GetUtcNow() + timeout).UtcDateTime, cancellation);
}
