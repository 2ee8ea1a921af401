using System.Globalization;

namespace Kapell.Etcd.Server.Peers;

/// <summary>
/// Paths and headers between members. A member opens two streams to each other one by an HTTP upgrade (<see cref="UpgradeName"/>), one
/// for small messages and one for large, so that heartbeats are never behind entries; a checkpoint goes as a request of its own.
/// </summary>
internal static class PeerProtocol
{
    public const string UpgradeName = "kapell-raft-1";
    public const string StreamPath = "/kapell/raft/stream";
    public const string ProbePath = "/kapell/raft/probe";
    public const string SnapshotPath = "/kapell/raft/snapshot";
    public const string MembersPath = "/members";
    public const string ViewPath = "/kapell/cluster";
    public const string RenewalsPath = "/kapell/leases";

    /// <summary>One lease, as etcd asks for it: of members that are older than <see cref="RenewalsPath"/>.</summary>
    public const string KeepAlivePath = "/leases";
    public const string TimeToLivePath = "/leases/internal";
    public const string HashPath = "/members/hashkv";
    public const string ComparePath = "/kapell/compare";
    public const string PromotePath = "/members/promote/";

    // etcd: rafthttp/http.go names these so.
    public const string ClusterHeader = "X-Etcd-Cluster-ID";
    public const string FromHeader = "X-Server-From";
    public const string ToHeader = "X-Raft-To";

    /// <summary>What the member that takes a stream understands on it besides Raft's messages; those of older builds say nothing.</summary>
    public const string TakesHeader = "X-Kapell-Takes";

    /// <summary>In <see cref="TakesHeader"/>: requests to renew leases, and their answers.</summary>
    public const string TakesRenewals = "renewals";

    /// <summary>Where the caller can be reached: one that has just joined knows nobody yet, and learns it from who calls.</summary>
    public const string UrlsHeader = "X-PeerURLs";

    public static string Hex(ulong id) => id.ToString("x", CultureInfo.InvariantCulture);

    public static bool TryHex(string? text, out ulong id) =>
        ulong.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out id);
}

/// <summary>The two streams to a member.</summary>
internal enum Lane
{
    /// <summary>Heartbeats, votes, answers, reads.</summary>
    Urgent,

    /// <summary>Entries and forwarded proposals.</summary>
    Bulk,
}
