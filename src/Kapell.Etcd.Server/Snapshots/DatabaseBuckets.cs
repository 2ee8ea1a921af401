namespace Kapell.Etcd.Server.Snapshots;

/// <summary>The names in etcd's database. etcd: storage/schema/bucket.go</summary>
internal static class DatabaseBuckets
{
    public const string Key = "key";
    public const string Meta = "meta";
    public const string Lease = "lease";
    public const string Alarm = "alarm";
    public const string Members = "members";
    public const string Auth = "auth";
    public const string AuthUsers = "authUsers";
    public const string AuthRoles = "authRoles";
    public const string ConsistentIndex = "consistent_index";
    public const string Term = "term";
    public const string ConfState = "confState";
    public const string StorageVersion = "storageVersion";
    public const string ScheduledCompaction = "scheduledCompactRev";
    public const string FinishedCompaction = "finishedCompactRev";
    public const string AuthEnabled = "authEnabled";
    public const string AuthRevision = "authRevision";

    /// <summary>Those that etcd expects and that hold nothing here: no version is agreed on, so that any may restore it.</summary>
    public static readonly string[] AlwaysEmpty = ["cluster", "members_removed"];
}
