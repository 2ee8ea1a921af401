using System.Globalization;
using Kapell.Base;
using Kapell.Etcd.Server.Snapshots;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Backups;

/// <summary>The command <c>etcdutl restore</c>.</summary>
internal static class RestoreCommand
{
    /// <exception cref="FlagException">A flag is wrong.</exception>
    /// <exception cref="InvalidDataException">It cannot be restored; the message says why.</exception>
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, TextWriter errors)
    {
        FlagSet flags = new("etcdutl restore", "Makes a data directory out of what `etcd --backup-dir` kept, as the content was at a revision or a time.");
        FlagValue<string> from = flags.String("from", "", "What --backup-dir was, or the folder of one member in it.");
        FlagValue<long> revision = flags.Long("to-revision", 0, "Restore the content as of this revision.");
        FlagValue<string> time = flags.String("to-time", "", "Restore the content as of this time, such as 2026-11-27T08:15:30Z; without a zone it is UTC.");
        FlagValue<string> data = flags.String("data-dir", "", "Path to the output data directory (default ${name}.etcd).");
        FlagValue<string> wal = flags.String("wal-dir", "", "Path to the WAL directory (use --data-dir if none given).");
        FlagValue<string> name = flags.String("name", "default", "Human-readable name for this member.");
        FlagValue<string> cluster = flags.String("initial-cluster", "", "Members of the new cluster, name=peer-url, comma-separated (default: this one alone).");
        FlagValue<string> token = flags.String("initial-cluster-token", "etcd-cluster", "Token of the new cluster.");
        FlagValue<IReadOnlyList<string>> urls = flags.List("initial-advertise-peer-urls", ["http://localhost:2380"], "This member's peer URLs.");
        FlagValue<long> bump = EtcdutlCommand.BumpFlag(flags, out FlagValue<bool> compacted);
        flags.Examples.Add("etcdutl restore --from /backups --to-time 2026-11-27T08:15:30Z --data-dir /var/lib/etcd-new");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            await output.WriteLineAsync(flags.Help());
            return 0;
        }

        if (flags.Arguments.Count > 0 || from.Value.Length == 0)
        {
            throw new FlagException(from.Value.Length == 0 ? "--from is needed: the directory of the backups" : $"unknown argument \"{flags.Arguments[0]}\"");
        }

        RestoreSettings settings = new()
        {
            DataDirectory = data.Value.Length > 0 ? data.Value : name.Value + ".etcd",
            WalDirectory = wal.Value.Length > 0 ? wal.Value : null,
            Name = name.Value,
            PeerUrls = urls.Value,
            InitialCluster = EtcdutlCommand.ParseCluster(cluster.Value.Length > 0 ? cluster.Value : string.Join(',', urls.Value.Select(u => $"{name.Value}={u}"))),
            ClusterToken = token.Value,
            RevisionBump = EtcdutlCommand.BumpOf(bump, compacted),
        };
        RestorePoint point = PointOf(flags.WasSet("to-revision") ? revision.Value : null, time.Value);
        RestoredBackup restored = await Task.Run(() => BackupRestore.Run(new FileDisk(), from.Value, point, settings, w => errors.WriteLine("warning: " + w)));
        DateTimeOffset at = restored.From.Time ?? restored.From.From.TakenAt;
        await output.WriteLineAsync(string.Create(
            CultureInfo.InvariantCulture,
            $"restored revision {restored.RestoredRevision} of {RestorePoint.Show(at)} to {restored.Directory}{Bumped(restored)}: hash {restored.Hash}, verified; "
            + $"from the backup of revision {restored.From.From.Revision} and {restored.From.Last - restored.From.From.Index} entries of the log after it"));
        return 0;
    }

    private static string Bumped(RestoredBackup restored) => restored.Revision == restored.RestoredRevision ? ""
        : string.Create(CultureInfo.InvariantCulture, $", where it is revision {restored.Revision} and all before it are compacted");

    private static RestorePoint PointOf(long? revision, string time)
    {
        if (revision is not null && time.Length > 0)
        {
            throw new FlagException("--to-revision and --to-time exclude each other");
        }

        if (revision is < 1)
        {
            throw new FlagException("--to-revision must be at least 1");
        }

        const DateTimeStyles styles = DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal;
        return time.Length == 0 ? new RestorePoint(revision, null)
            : DateTimeOffset.TryParse(time, CultureInfo.InvariantCulture, styles, out DateTimeOffset at) ? new RestorePoint(null, at)
            : throw new FlagException($"--to-time: \"{time}\" is no time such as 2026-11-27T08:15:30Z");
    }
}
