using Kapell.Base;

namespace Kapell.Etcd.Server;

/// <summary>One of upstream's features that are not settled yet, and whether it is on.</summary>
public sealed record FeatureGate(string Name, string Stage, bool IsOn);

/// <summary>The value of <c>--feature-gates</c>: name=true|false pairs. etcd: pkg/featuregate, server/features/etcd_features.go</summary>
internal sealed class FeatureGates
{
    private const string Alpha = "ALPHA";
    private const string Beta = "BETA";

    private static readonly FeatureGate[] Known =
    [
        new("CompactHashCheck", Alpha, false), new("FastLeaseKeepAlive", Beta, true), new("InitialCorruptCheck", Alpha, false),
        new("LeaseCheckpoint", Alpha, false), new("LeaseCheckpointPersist", Alpha, false), new("PriorityRequest", Alpha, false),
        new("SetMemberLocalAddr", Alpha, false), new("StopGRPCServiceOnDefrag", Alpha, false), new("TxnModeWriteWithSharedBuffer", Beta, true),
    ];

    private FeatureGates(IReadOnlyList<FeatureGate> all) => All = all;

    /// <summary>In rising order of their names.</summary>
    public IReadOnlyList<FeatureGate> All { get; private init; }

    /// <summary>The flags of before that say the same of one. etcd: server/features/etcd_features.go ExperimentalFlagToFeatureMap</summary>
    public static IReadOnlyList<(string Flag, string Gate)> OlderFlags { get; } =
    [
        ("experimental-stop-grpc-service-on-defrag", "StopGRPCServiceOnDefrag"), ("experimental-initial-corrupt-check", "InitialCorruptCheck"),
        ("experimental-compact-hash-check-enabled", "CompactHashCheck"), ("experimental-txn-mode-write-with-shared-buffer", "TxnModeWriteWithSharedBuffer"),
        ("experimental-enable-lease-checkpoint", "LeaseCheckpoint"), ("experimental-enable-lease-checkpoint-persist", "LeaseCheckpointPersist"),
        ("experimental-set-member-localaddr", "SetMemberLocalAddr"),
    ];

    public static IEnumerable<string> Names => Known.Select(static g => g.Name);

    public bool this[string name] => All.Single(g => g.Name == name).IsOn;

    /// <summary>What a list of pairs says of one; null: nothing.</summary>
    public static string? Said(string value, string name) =>
        value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(static pair => pair.Split('=', 2))
            .LastOrDefault(parts => parts.Length == 2 && parts[0] == name)?[1];

    /// <exception cref="FlagException">A name that is not known, a value that is none, or one that needs another.</exception>
    public static FeatureGates Parse(string value)
    {
        Dictionary<string, bool> said = new(StringComparer.Ordinal);
        foreach (string pair in value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            string[] parts = pair.Split('=', 2);
            if (parts.Length != 2)
            {
                throw new FlagException($"missing bool value for {pair}");
            }

            if (!Known.Any(g => g.Name == parts[0]) && parts[0] is not ("AllAlpha" or "AllBeta"))
            {
                throw new FlagException($"unrecognized feature gate: {parts[0]}");
            }

            said[parts[0]] = bool.TryParse(parts[1], out bool on) ? on : throw new FlagException($"invalid value of {parts[0]}: {parts[1]}, err: strconv.ParseBool: parsing \"{parts[1]}\": invalid syntax");
        }

        // What is said of one counts before what is said of all of its stage.
        bool IsOn(FeatureGate gate) => said.TryGetValue(gate.Name, out bool own) ? own
            : said.TryGetValue(gate.Stage == Alpha ? "AllAlpha" : "AllBeta", out bool all) ? all
            : gate.IsOn;
        FeatureGates gates = new([.. Known.Select(g => g with { IsOn = IsOn(g) })]);
        return gates["LeaseCheckpointPersist"] && !gates["LeaseCheckpoint"]
            ? throw new FlagException("enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint")
            : gates;
    }

    /// <summary>The older flags of the same features count as well.</summary>
    public FeatureGates With(string name, bool isOn) => new([.. All.Select(g => g.Name == name ? g with { IsOn = g.IsOn || isOn } : g)]);
}
