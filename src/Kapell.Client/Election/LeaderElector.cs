using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Base;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Client.Election;

/// <summary>
/// One leader among candidates through a Lease object (client-go: leaderelection.go, with which it can share a lease).
/// </summary>
/// <remarks>
/// Promised: the work runs only after this candidate wrote itself into the lease, and is cancelled when renewing has not succeeded for
/// RenewDeadline, which is before another may take the lease, as long as clocks run at about the same speed (what they show does not
/// matter: a lease is held to be alive for LeaseDuration after this process saw it change). Not promised: fencing. A write sent just
/// before the deadline may arrive after the next leader's first.
/// </remarks>
public sealed class LeaderElector(KubeClient client, LeaderElectionOptions options, TimeProvider time, Prng random, ILogger log)
{
    private const double JitterFactor = 1.2;
    private readonly ObjectKey _key = new(options.Namespace, options.Name);
    private KubeObject? _observed;
    private string _observedSpec = "";
    private long _observedAt;
    private string _reportedLeader = "";

    /// <summary>The identity in the lease as last seen.</summary>
    public string Leader => _observed?.Spec.Text("holderIdentity") ?? "";

    public bool IsLeader => Leader == options.Identity;

    /// <summary>
    /// Waits for leadership, runs <paramref name="lead"/>, and returns true when it ended by itself or the token was cancelled, false
    /// when leadership was lost: the caller then stops its process or tries again.
    /// </summary>
    public async Task<bool> RunAsync(Func<CancellationToken, Task> lead, CancellationToken cancellation)
    {
        try
        {
            await AcquireAsync(cancellation);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            return true;
        }

        Log.LeaseAcquired(log, _key.ToString());
        using CancellationTokenSource leading = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task work = Task.Run(() => lead(leading.Token), CancellationToken.None);
        Task<bool> renew = RenewAsync(leading.Token);
        await Task.WhenAny(work, renew);
        bool lost = renew.IsCompleted && !cancellation.IsCancellationRequested && !await renew;
        await leading.CancelAsync();
        try
        {
            await work;
        }
        catch (OperationCanceledException) when (leading.IsCancellationRequested)
        {
        }
        finally
        {
            await renew;
            if (lost)
            {
                Log.LeaseLost(log, _key.ToString());
            }
            else if (options.ReleaseOnCancel)
            {
                await ReleaseAsync();
            }
        }

        return !lost;
    }

    private async Task AcquireAsync(CancellationToken cancellation)
    {
        while (!await TryAcquireOrRenewAsync(cancellation))
        {
            await Task.Delay(options.RetryPeriod * (1 + (JitterFactor * random.NextDouble())), time, cancellation);
        }
    }

    /// <summary>False when RenewDeadline passed without a renewal; true when cancelled.</summary>
    private async Task<bool> RenewAsync(CancellationToken cancellation)
    {
        long renewedAt = time.GetTimestamp();
        try
        {
            while (true)
            {
                await Task.Delay(options.RetryPeriod, time, cancellation);
                using CancellationTokenSource deadline = new(Positive(options.RenewDeadline - time.GetElapsedTime(renewedAt)), time);
                using CancellationTokenSource both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, deadline.Token);
                long started = time.GetTimestamp();
                bool renewed;
                try
                {
                    renewed = await TryAcquireOrRenewAsync(both.Token);
                }
                catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
                {
                    renewed = false;
                }

                if (renewed)
                {
                    renewedAt = started;
                }
                else if (time.GetElapsedTime(renewedAt) >= options.RenewDeadline)
                {
                    return false;
                }
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            return true;
        }
    }

    private static TimeSpan Positive(TimeSpan t) => t > TimeSpan.FromMilliseconds(1) ? t : TimeSpan.FromMilliseconds(1);

    private async Task<bool> TryAcquireOrRenewAsync(CancellationToken cancellation)
    {
        try
        {
            KubeObject? lease = await GetOrNullAsync(cancellation);
            if (lease is null)
            {
                Observe(await client.CreateAsync(Resources.Leases, options.Namespace, Record(null, out _), cancellation));
                return true;
            }

            Observe(lease);
            if (!IsLeader && Leader.Length > 0 && !Expired(lease))
            {
                return false;
            }

            JsonObject record = Record(lease, out _);
            Observe(await client.UpdateAsync(Resources.Leases, _key, record, cancellation));
            return true;
        }
        catch (Exception e) when (e is StatusException or HttpRequestException or IOException or TimeoutException or JsonException)
        {
            if (e is not StatusException { IsConflict: true } and not StatusException { IsAlreadyExists: true })
            {
                Log.LeaseFailed(log, _key.ToString(), e.Message);
            }

            return false;
        }
    }

    private async Task<KubeObject?> GetOrNullAsync(CancellationToken cancellation)
    {
        try
        {
            return await client.GetAsync(Resources.Leases, _key, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            return null;
        }
    }

    // Clocks are not compared: the lease runs from the moment this process saw it change (client-go: observedTime).
    private bool Expired(KubeObject lease)
    {
        double seconds = lease.Spec.Long("leaseDurationSeconds", (long)options.LeaseDuration.TotalSeconds);
        return time.GetElapsedTime(_observedAt) >= TimeSpan.FromSeconds(Math.Min(seconds, options.LeaseDuration.TotalSeconds));
    }

    private void Observe(KubeObject lease)
    {
        string spec = lease.Spec.ValueKind == JsonValueKind.Object ? lease.Spec.GetRawText() : "";
        if (_observed is null || spec != _observedSpec)
        {
            _observedSpec = spec;
            _observedAt = time.GetTimestamp();
        }

        _observed = lease;
        if (Leader != _reportedLeader)
        {
            _reportedLeader = Leader;
            Log.NewLeader(log, _reportedLeader);
        }
    }

    private JsonObject Record(KubeObject? lease, out JsonObject spec)
    {
        string now = MicroTime(time.GetUtcNow());
        JsonObject json = lease?.ToNode() ?? new JsonObject
        {
            ["apiVersion"] = "coordination.k8s.io/v1", ["kind"] = "Lease",
            ["metadata"] = new JsonObject { ["name"] = options.Name, ["namespace"] = options.Namespace },
        };
        bool mine = lease is not null && lease.Spec.Text("holderIdentity") == options.Identity;
        long transitions = lease?.Spec.Long("leaseTransitions") ?? 0;
        spec = json["spec"] as JsonObject ?? new JsonObject();
        json["spec"] ??= spec;
        spec["holderIdentity"] = options.Identity;
        spec["leaseDurationSeconds"] = (long)options.LeaseDuration.TotalSeconds;
        spec["renewTime"] = now;
        spec["acquireTime"] = mine && lease!.Spec.Has("acquireTime") ? lease.Spec.Text("acquireTime") : now;
        spec["leaseTransitions"] = mine || lease is null ? transitions : transitions + 1;
        return json;
    }

    // client-go: release(): an empty holder, one second, so that the next candidate takes it at once.
    private async Task ReleaseAsync()
    {
        if (!IsLeader || _observed is null)
        {
            return;
        }

        JsonObject json = Record(_observed, out JsonObject spec);
        spec["holderIdentity"] = "";
        spec["leaseDurationSeconds"] = 1;
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(2), time);
        try
        {
            _observed = await client.UpdateAsync(Resources.Leases, _key, json, limit.Token);
        }
        catch (Exception e) when (e is StatusException or HttpRequestException or IOException or TimeoutException or OperationCanceledException)
        {
            Log.LeaseFailed(log, _key.ToString(), "could not be released: " + e.Message);
        }
    }

    internal static string MicroTime(DateTimeOffset t) => t.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);
}
