using System.Globalization;

namespace Kapell.Etcd.Server.Backups;

/// <summary>Up to where a backup is to be restored: a revision, a time of day, or (neither) as far as it goes.</summary>
internal readonly record struct RestorePoint(long? Revision, DateTimeOffset? Time)
{
    public override string ToString() => Revision is { } revision ? string.Create(CultureInfo.InvariantCulture, $"revision {revision}")
        : Time is { } time ? "the time " + Show(time)
        : "the newest revision";

    public static string Show(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);

    /// <summary>A backup that was taken there can be gone on from.</summary>
    public bool IsReachableFrom(BackupInfo info) => (Revision is null || info.Revision <= Revision) && (Time is null || info.TakenAt <= Time);
}
