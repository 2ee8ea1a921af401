using Kapell.Base;

namespace Kapell.Etcd.Server;

/// <summary>
/// Flags of upstream's versions 3.4 to 3.6 that change nothing here: taken with the reason in the help, or, where somebody would count on
/// an effect that is not there, refused with the reason.
/// </summary>
internal sealed class EtcdUnusedFlags(FlagSet flags)
{
    private const string NoDatabase = "the store is not a bbolt database";
    private const string NoTransport = "the peers' connections are Kapell's own";
    private const string NoProxy = "the v2 proxy is gone upstream too";

    private readonly List<(string Name, Func<bool> IsSet, string Reason)> _refused = [];
    private readonly List<(string Name, string Reason)> _taken = [];
    private readonly List<Func<string?>> _checks = [];

    /// <summary>What to tell whoever set one that has no effect. etcd: etcdmain/config.go, bootstrap.go, in whose words some are.</summary>
    public IEnumerable<string> Notices => _taken.Where(flag => flags.WasSet(flag.Name)).Select(static flag => flag.Name switch
    {
        "max-snapshots" or "max-wals" => $"--{flag.Name} is deprecated in 3.6 and will be decommissioned in 3.8. It has no effect: {flag.Reason}",
        "v2-deprecation" => $"--{flag.Name} is deprecated and scheduled for removal in v3.8. The default value is enforced, ignoring user input: {flag.Reason}",
        "bootstrap-defrag-threshold-megabytes" or "experimental-bootstrap-defrag-threshold-megabytes" => $"Skipping defragmentation, --{flag.Name} has no effect: {flag.Reason}",
        "enable-v2" or "experimental-enable-v2v3" or "proxy" or ['p', 'r', 'o', 'x', 'y', '-', ..] =>
            $"--{flag.Name} is deprecated in 3.5 and will be decommissioned in 3.6. It has no effect: {flag.Reason}",
        _ => $"--{flag.Name} has no effect: {flag.Reason}",
    });

    public void Member()
    {
        Unused("initial-election-tick-advance", true, "elections begin at their own pace");
        Unused("max-snapshots", 5UL, "two checkpoints are kept");
        Unused("max-wals", 5UL, "segments go when a checkpoint has them");
        Unused("memory-mlock", false, NoDatabase);
        Unused("backend-bbolt-freelist-type", "map", NoDatabase);
        Unused("experimental-backend-bbolt-freelist-type", "map", NoDatabase);
        Unused("backend-batch-interval", TimeSpan.Zero, NoDatabase);
        Unused("backend-batch-limit", 0, NoDatabase);
        Unused("grpc-keepalive-min-time", TimeSpan.FromSeconds(5), "clients may ping as often as they like");
        Unused("socket-reuse-address", false, "the platform does so");
        Unused("raft-read-timeout", TimeSpan.FromSeconds(5), NoTransport);
        Unused("raft-write-timeout", TimeSpan.FromSeconds(5), NoTransport);
        Unused("enable-v2", false, "the v2 API is gone upstream too");
        Unused("experimental-enable-v2v3", "", "the v2 API is gone upstream too");
        Unused("v2-deprecation", ["write-only", "write-only-drop-data", "gone"], "the v2 API is gone upstream too");
    }

    public void Clustering()
    {
        foreach (string name in new[] { "discovery", "discovery-proxy" })
        {
            Refused(name, "", "it asks by the v2 API, which is gone upstream too: use --discovery-endpoints and --discovery-token");
        }

        Unused("discovery-fallback", ["exit", "proxy"], NoProxy);
        Unused("discovery-dial-timeout", TimeSpan.FromSeconds(2), "each request has its own time: --discovery-request-timeout");
        Unused("discovery-keepalive-time", TimeSpan.FromSeconds(2), "the service is asked for some moments only");
        Unused("discovery-keepalive-timeout", TimeSpan.FromSeconds(6), "the service is asked for some moments only");
        Unused("proxy", ["off", "readonly", "on"], NoProxy);
        foreach (string name in new[] { "proxy-failure-wait", "proxy-refresh-interval", "proxy-dial-timeout", "proxy-write-timeout", "proxy-read-timeout" })
        {
            Unused(name, 0, NoProxy);
        }
    }

    public void Security()
    {
        foreach (string name in new[] { "client-cert-file", "client-key-file" })
        {
            Unused(name, "", "the JSON gateway is in the same process and shows no certificate");
        }
    }

    public void Logging()
    {
        const string ownLog = "the log is the process's";
        Unused("enable-pprof", false, "there is no Go runtime to profile: use dotnet-counters, dotnet-trace or perf");
        Unused("log-package-levels", "", ownLog);
        Unused("debug", false, ownLog);
    }

    public void Features()
    {
        foreach (string prefix in new[] { "", "experimental-" })
        {
            CheckTime(prefix + "compact-hash-check-time", TimeSpan.FromMinutes(1), zero: false, "members are compared all the time: --corrupt-check-time");
            Unused(prefix + "compaction-batch-limit", 1000, "compaction frees memory in small steps by itself");
            Unused(prefix + "compaction-sleep-interval", TimeSpan.FromMilliseconds(10), "compaction frees memory in small steps by itself");
            Unused(prefix + "bootstrap-defrag-threshold-megabytes", 0UL, "there is nothing to defragment");
            CheckTime(prefix + "downgrade-check-time", TimeSpan.FromSeconds(5), zero: true, "downgrades are not supported");
            Unused(prefix + "enable-lease-checkpoint-persist", false, "what is told of the time left of leases is kept whenever it is told");
        }

        foreach (string name in new[] { "memory-mlock", "stop-grpc-service-on-defrag" })
        {
            Unused("experimental-" + name, false, "there is no such thing here");
        }

        Unused("experimental-compact-hash-check-enabled", false, "members are compared all the time: --corrupt-check-time");
        Unused("experimental-txn-mode-write-with-shared-buffer", true, NoDatabase);
    }

    /// <exception cref="FlagException">One that would have had an effect was set, or one to what it cannot be.</exception>
    public void Check()
    {
        if (_checks.Select(static check => check()).FirstOrDefault(static wrong => wrong is not null) is { } reason)
        {
            throw new FlagException(reason);
        }

        foreach ((string name, Func<bool> isSet, string why) in _refused)
        {
            if (isSet())
            {
                throw new FlagException($"--{name} is not supported: {why}");
            }
        }
    }

    private string Taken(string name, string reason)
    {
        _taken.Add((name, reason));
        return $"Taken without effect: {reason}.";
    }

    private void Unused(string name, string value, string reason) => flags.String(name, value, Taken(name, reason));

    /// <summary>One of a few words, the first when it is not set.</summary>
    private void Unused(string name, string[] choices, string reason) => flags.Choice(name, choices[0], choices, Taken(name, reason));

    private void Unused(string name, bool value, string reason) => flags.Bool(name, value, Taken(name, reason));

    private void Unused(string name, int value, string reason) => flags.Long(name, value, Taken(name, reason));

    private void Unused(string name, ulong value, string reason) => flags.Unsigned(name, value, Taken(name, reason));

    // etcd: embed/config.go Validate
    private void CheckTime(string name, TimeSpan value, bool zero, string reason)
    {
        FlagValue<TimeSpan> time = flags.Duration(name, value, Taken(name, reason));
        _checks.Add(() => time.Value > TimeSpan.Zero || (zero && time.Value == TimeSpan.Zero) ? null
            : $"--{name} must be {(zero ? ">=0" : ">0")} (set to {GoDuration.Format(time.Value)})");
    }

    private void Unused(string name, TimeSpan value, string reason) => flags.Duration(name, value, Taken(name, reason));

    private void Refused(string name, string value, string reason)
    {
        FlagValue<string> flag = flags.String(name, value, $"Refused: {reason}.");
        _refused.Add((name, () => flag.Value != value, reason));
    }
}
