namespace Kapell.Etcd.Server.Backups;

/// <summary>Where and how often a member is backed up.</summary>
/// <param name="Directory">Best on another disk; several members, also of several clusters, may share it.</param>
/// <param name="Interval">Between two whole backups; what happens between them is in the log of the older one.</param>
/// <param name="Retention">How far back a point in time can be restored.</param>
public sealed record BackupSettings(string Directory, TimeSpan Interval, TimeSpan Retention);
