using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Proxies.Leasing;

/// <summary>
/// Holds the lease that all leasing keys of a proxy have, and gives up the keys that others ask back. While no member answers, keys are still
/// read for as long as the lease is certain to last. The lease is renewed only at the member that is watched, so that one which has lost its
/// cluster cannot keep it alive and miss what is asked back.
/// </summary>
/// <param name="leasings">The leasing keys as the members see them.</param>
/// <param name="kv">Gives up a key.</param>
/// <param name="keys">Those that are held.</param>
/// <param name="upstreams">The members.</param>
/// <param name="time">For the lease, and pauses.</param>
/// <param name="logger">Of the proxy.</param>
internal sealed class LeasingSession(KeyNamespace leasings, LeasedKv kv, LeasedKeys keys, Upstreams upstreams, TimeProvider time, ILogger logger)
{
    private const int TtlSeconds = 60; // etcd: concurrency.NewSession
    private const int RenewalsPerTtl = 6;

    // Of the time that a member gave: what passes until it hears of it is on the safe side, clocks that run differently are not.
    private const double SafeShare = 0.9;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    private readonly (ByteString Key, ByteString End) _all = leasings.Inside(ByteString.Empty, ByteString.CopyFrom(0));
    private long _lease;
    private long _validUntil; // A time stamp.
    private long _next; // The revision after the last that was watched.
    private bool _heard; // Something, since it was last asked for.
    private string _said = "";

    /// <summary>Ends when the proxy stops.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
        while (!stopping.IsCancellationRequested)
        {
            Upstream upstream = upstreams.InOrder()[0];
            try
            {
                await BeginAsync(upstream, stopping);
                await HoldAsync(upstream, stopping);
            }
            catch (Exception e) when (e is RpcException or ObjectDisposedException)
            {
                Failed(upstream, e, stopping);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            await Task.Delay(Pause, time, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task BeginAsync(Upstream upstream, CancellationToken stopping)
    {
        long asked = time.GetTimestamp();
        LeaseGrantResponse granted = await new Lease.LeaseClient(upstream.Channel).LeaseGrantAsync(new LeaseGrantRequest { TTL = TtlSeconds }, Soon(stopping));
        (_lease, _validUntil, _next) = (granted.ID, Until(asked, granted.TTL), granted.Header.Revision + 1);
    }

    /// <summary>Until the lease is over, or it is not known what became of its keys.</summary>
    /// <param name="upstream">The first to turn to.</param>
    /// <param name="stopping">The proxy's.</param>
    private async Task HoldAsync(Upstream upstream, CancellationToken stopping)
    {
        try
        {
            while (time.GetTimestamp() < _validUntil)
            {
                try
                {
                    await WatchAsync(upstream, stopping);
                }
                catch (RpcException e) when (e.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.Cancelled or StatusCode.ResourceExhausted)
                {
                    Failed(upstream, e, stopping);
                }

                await Task.Delay(Pause, time, stopping);
                upstream = upstreams.InOrder()[0];
            }
        }
        finally
        {
            keys.End();
            await RevokeAsync(upstream);
        }
    }

    /// <summary>Ends with an exception, and with it the watch.</summary>
    private async Task WatchAsync(Upstream upstream, CancellationToken stopping)
    {
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        using var watch = new Watch.WatchClient(upstream.Channel).Watch(cancellationToken: over.Token);
        try
        {
            await OpenAsync(watch, over.Token);
            await await Task.WhenAny(ReadAsync(watch.ResponseStream, over.Token), RenewAsync(upstream, watch.RequestStream, over.Token));
        }
        catch (InvalidOperationException)
        {
            // Nothing can be asked any more of a call that has ended, or of a member that is none any more.
            throw new RpcException(new Status(StatusCode.Unavailable, "the watch of the leasing keys has ended"));
        }
        finally
        {
            await over.CancelAsync();
        }
    }

    private async Task OpenAsync(AsyncDuplexStreamingCall<WatchRequest, WatchResponse> watch, CancellationToken cancellation)
    {
        WatchCreateRequest create = new() { Key = _all.Key, RangeEnd = _all.End, StartRevision = _next };
        await watch.RequestStream.WriteAsync(new WatchRequest { CreateRequest = create }, cancellation);
        using CancellationTokenSource late = new(Patience, time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(cancellation, late.Token);
        if (!await watch.ResponseStream.MoveNext(either.Token))
        {
            throw new RpcException(new Status(StatusCode.Unavailable, "the watch of the leasing keys has ended"));
        }

        RefuseCanceled(watch.ResponseStream.Current);
    }

    private static void RefuseCanceled(WatchResponse response)
    {
        if (response.Canceled)
        {
            string reason = response.CompactRevision > 0 ? "etcdserver: mvcc: required revision has been compacted" : response.CancelReason;
            throw new RpcException(new Status(StatusCode.FailedPrecondition, $"the leasing keys cannot be watched: {reason}"));
        }
    }

    private async Task ReadAsync(IAsyncStreamReader<WatchResponse> responses, CancellationToken cancellation)
    {
        while (await responses.MoveNext(cancellation))
        {
            Volatile.Write(ref _heard, true);
            WatchResponse response = responses.Current;
            RefuseCanceled(response);
            foreach (Event one in response.Events)
            {
                ByteString key = leasings.Strip(one.Kv.Key);
                if (one.Type == Event.Types.EventType.Delete)
                {
                    keys.Gone(key, one.Kv.ModRevision);
                }
                else if (one.Kv.Version > 1 && one.Kv.Lease != _lease)
                {
                    // Of another, or somebody's who knows nothing of leases.
                    keys.Lost(key, one.Kv.ModRevision);
                }
                else if (one.Kv.Value == LeasedKv.Revoke && one.Kv.Lease == _lease)
                {
                    await kv.RescindAsync(key, one.Kv.ModRevision, Soon(cancellation));
                }
            }

            // One revision comes in one message; what was not given up because that failed comes again.
            _next = response.Events.Count > 0 ? response.Events[^1].Kv.ModRevision + 1 : _next;
        }

        throw new RpcException(new Status(StatusCode.Unavailable, "the watch of the leasing keys has ended"));
    }

    private async Task RenewAsync(Upstream upstream, IClientStreamWriter<WatchRequest> watch, CancellationToken cancellation)
    {
        while (true)
        {
            // Since users are needed, what was read without one must not be shown.
            await new KV.KVClient(upstream.Channel).RangeAsync(new RangeRequest { Key = _all.Key, CountOnly = true }, Soon(cancellation));
            await KeepAliveAsync(upstream, cancellation);
            Volatile.Write(ref _heard, false);
            await watch.WriteAsync(new WatchRequest { ProgressRequest = new WatchProgressRequest() }, cancellation);
            await Task.Delay(TimeSpan.FromSeconds(TtlSeconds / RenewalsPerTtl), time, cancellation);
            if (!Volatile.Read(ref _heard))
            {
                throw new RpcException(new Status(StatusCode.Unavailable, "the watch of the leasing keys says nothing any more"));
            }
        }
    }

    private async Task KeepAliveAsync(Upstream upstream, CancellationToken cancellation)
    {
        long asked = time.GetTimestamp();
        using var call = new Lease.LeaseClient(upstream.Channel).LeaseKeepAlive(Soon(cancellation));
        await call.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = _lease }, cancellation);
        await call.RequestStream.CompleteAsync();
        if (!await call.ResponseStream.MoveNext(cancellation))
        {
            throw new RpcException(new Status(StatusCode.Unavailable, "the keep-alive was ended without an answer"));
        }

        if (call.ResponseStream.Current.TTL <= 0)
        {
            throw new RpcException(new Status(StatusCode.NotFound, "the lease of the leasing keys has ended"));
        }

        _validUntil = Until(asked, call.ResponseStream.Current.TTL);
        keys.Renew(_lease, _validUntil);
        upstreams.Heard(upstream);
        if (_said != upstream.Address)
        {
            _said = upstream.Address;
            Log.LeasingHeld(logger, upstream.Address, _lease);
        }
    }

    /// <summary>So that nobody waits for the lease to end.</summary>
    private async Task RevokeAsync(Upstream upstream)
    {
        try
        {
            await new Lease.LeaseClient(upstream.Channel).LeaseRevokeAsync(new LeaseRevokeRequest { ID = _lease }, Soon(CancellationToken.None));
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.NotFound)
        {
            Log.LeasingNotRevoked(logger, _lease, UpstreamCalls.Plain(e, upstream).Status.Detail);
        }
        catch (RpcException)
        {
            // It is over already.
            return;
        }
    }

    /// <exception cref="OperationCanceledException">The proxy stops.</exception>
    private void Failed(Upstream upstream, Exception e, CancellationToken stopping)
    {
        stopping.ThrowIfCancellationRequested();
        Status plain = UpstreamCalls.Plain(e, upstream).Status;
        string reason = plain.Detail;
        if (plain.StatusCode == StatusCode.Unavailable)
        {
            upstreams.Suspect(upstream, reason);
        }

        if (_said != reason)
        {
            _said = reason;
            Log.LeasingInterrupted(logger, reason);
        }
    }

    private long Until(long asked, long ttlSeconds) => asked + (long)(ttlSeconds * SafeShare * time.TimestampFrequency);

    private CallOptions Soon(CancellationToken cancellation) => new(deadline: (time.GetUtcNow() + Patience).UtcDateTime, cancellationToken: cancellation);
}
