using System.Globalization;

namespace Kapell.Etcd.Server.Backups;

/// <summary>
/// The backups of one member from one founding of its cluster on. A cluster that was restored or founded anew has the numbers of the one
/// before, and begins to count its entries from the start: what it backs up goes into a folder of its own. The first history is in the
/// member's folder itself.
/// </summary>
/// <param name="Start">When it was begun; the least time for the first, of which it is not known.</param>
internal sealed record BackupHistory(string Directory, DateTimeOffset Start)
{
    private const string Extension = ".history";
    private const string Form = "yyyyMMdd'T'HHmmssfff'Z'";

    /// <summary>In the order of their beginnings; always the first too.</summary>
    public static IReadOnlyList<BackupHistory> Of(string memberDirectory) =>
    [
        new BackupHistory(memberDirectory, DateTimeOffset.MinValue),
        .. (System.IO.Directory.Exists(memberDirectory) ? System.IO.Directory.EnumerateDirectories(memberDirectory, "*" + Extension) : [])
            .Select(Parse).OfType<BackupHistory>().OrderBy(static h => h.Start),
    ];

    /// <summary>The one after this. Makes nothing on the disk.</summary>
    public BackupHistory Next(string memberDirectory, DateTimeOffset now)
    {
        DateTimeOffset start = DateTimeOffset.FromUnixTimeMilliseconds(Math.Max(now.ToUnixTimeMilliseconds(), Start.ToUnixTimeMilliseconds() + 1));
        return new BackupHistory(Path.Combine(memberDirectory, start.UtcDateTime.ToString(Form, CultureInfo.InvariantCulture) + Extension), start);
    }

    public static bool IsOne(string directory) => directory.EndsWith(Extension, StringComparison.Ordinal);

    private static BackupHistory? Parse(string directory)
    {
        const DateTimeStyles styles = DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal;
        return DateTimeOffset.TryParseExact(Path.GetFileNameWithoutExtension(directory), Form, CultureInfo.InvariantCulture, styles, out DateTimeOffset start)
            ? new BackupHistory(directory, start) : null;
    }
}
