using System.Globalization;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Snapshots;
using Kapell.Mvcc;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;

namespace Kapell.Etcd.Server.Backups;

/// <summary>What was restored.</summary>
/// <param name="Hash">As etcd's HashKV gives it, over what was written to the new directory and read back.</param>
internal sealed record RestoredBackup(ReplayedBackup From, string Directory, long Revision, uint Hash);

/// <summary>Makes the data directory of a member of a new cluster with the content that a backed-up one had at a point.</summary>
internal static class BackupRestore
{
    private static readonly Action<Action> Alone = static work => work();

    /// <param name="root">What <c>--backup-dir</c> was, or the folder of one member in it.</param>
    /// <param name="warn">Is told of damage that another backup made up for.</param>
    /// <exception cref="InvalidDataException">No backup goes to that point, or all that do are damaged: the message names what there is.</exception>
    public static RestoredBackup Run(IDisk disk, string root, RestorePoint point, RestoreSettings settings, Action<string> warn)
    {
        SnapshotRestore.VerifySettings(settings);
        using ReplayedBackup replayed = Find(disk, root, point, warn);
        MvccStore store = replayed.Content.Store;
        uint expected = StoreHash.Compute(store, store.Revision);
        ContentSum sum = ContentSum.Of(store, store.Revision, store.CompactRevision, Alone);
        SnapshotRestore.Write(disk, settings, store, AuthRecordsCodec.Save(replayed.Content.Auth));
        (uint hash, ContentSum written) = ReadBack(disk, settings);
        return hash == expected && written == sum
            ? new RestoredBackup(replayed, settings.DataDirectory, store.Revision, hash)
            : throw new InvalidDataException(
                $"what was written to {settings.DataDirectory} is not what was read: hash {hash} instead of {expected}; do not use it, and check memory and disk");
    }

    private static (uint Hash, ContentSum Sum) ReadBack(IDisk disk, RestoreSettings settings)
    {
        string directory = new ReplicaSettings { DataDirectory = settings.DataDirectory }.CheckpointDirectory;
        _ = CheckpointFile.ReadLatestGood(
            disk, directory, static reader => CheckpointContent.Read(reader), static content => content.Store.Dispose(), out _, out LoadedCheckpoint? content);
        using (MvccStore store = content?.Store ?? throw new InvalidDataException($"{directory} has no checkpoint"))
        {
            return (StoreHash.Compute(store, store.Revision), ContentSum.Of(store, store.Revision, store.CompactRevision, Alone));
        }
    }

    /// <summary>The newest whole backups first, those of every member: the first that goes up to the point is taken.</summary>
    private static ReplayedBackup Find(IDisk disk, string root, RestorePoint point, Action<string> warn)
    {
        List<(BackupPlace Place, BackupInfo Info, BackupPlace[] Later)> all = [.. Places(root, warn)];
        if (all.Select(static a => a.Info.ClusterId).Distinct().Count() > 1)
        {
            throw new InvalidDataException($"{root} has backups of several clusters: give the folder of one member of the one that is meant");
        }

        if (all.Count == 0)
        {
            throw new InvalidDataException($"there is no whole backup in {root}");
        }

        List<(BackupPlace Place, BackupInfo Info, BackupPlace[] Later)> usable = [.. all.Where(a => point.IsReachableFrom(a.Info))
            .OrderByDescending(static a => a.Info.Revision).ThenByDescending(static a => a.Info.TakenAt)];
        if (usable.Count == 0)
        {
            BackupInfo oldest = all.MinBy(static a => a.Info.TakenAt).Info;
            throw new InvalidDataException($"{point} is before the oldest backup in {root}, which is of revision {oldest.Revision}, {RestorePoint.Show(oldest.TakenAt)}");
        }

        ReplayedBackup? furthest = null;
        List<string> troubles = [];
        foreach ((BackupPlace place, _, BackupPlace[] later) in usable)
        {
            ReplayedBackup? replayed = Try(disk, point, place, later, troubles);
            if (replayed is { Reached: true } && (point.Revision is not null || point.Time is not null || replayed.EndsBecause.Length == 0))
            {
                furthest?.Dispose();
                troubles.ForEach(warn);
                return replayed;
            }

            bool better = replayed is not null && (furthest is null || replayed.Revision > furthest.Revision);
            (better ? furthest : replayed)?.Dispose();
            furthest = better ? replayed : furthest;
        }

        return Furthest(furthest, point, root, troubles, warn);
    }

    /// <summary>No log reaches the point. As far as it goes is right when nothing else was asked for, or when the cluster was at rest then.</summary>
    private static ReplayedBackup Furthest(ReplayedBackup? furthest, RestorePoint point, string root, List<string> troubles, Action<string> warn)
    {
        if (furthest is { Reached: true })
        {
            troubles.ForEach(warn);
            warn($"the log goes no further than revision {furthest.Revision}: {furthest.EndsBecause}");
            return furthest;
        }

        string there = furthest is null ? "no backup can be read" : string.Create(CultureInfo.InvariantCulture, $"the backups in {root} end at revision {furthest.Revision}")
            + (furthest.Time is { } time ? ", " + RestorePoint.Show(time) : "") + (furthest.EndsBecause.Length > 0 ? $" ({furthest.EndsBecause})" : "");
        furthest?.Dispose();
        throw new InvalidDataException(
            $"{point} cannot be restored: {there}{string.Concat(troubles.Select(static t => "; " + t))}. Without --to-revision and --to-time the newest that there is is restored");
    }

    private static ReplayedBackup? Try(IDisk disk, RestorePoint point, BackupPlace place, BackupPlace[] later, List<string> troubles)
    {
        try
        {
            return new BackupReplay(disk, point).Run(place, later);
        }
        catch (CorruptLogException e)
        {
            // Its own advice is for a member's own files.
            troubles.Add($"{e.File} is damaged at offset {e.Offset}: {e.Reason}");
        }
        catch (Exception e) when (e is IOException or InvalidDataException)
        {
            troubles.Add(e.Message);
        }

        return null;
    }

    private static IEnumerable<(BackupPlace Place, BackupInfo Info, BackupPlace[] Later)> Places(string root, Action<string> warn)
    {
        if (!Directory.Exists(root))
        {
            throw new InvalidDataException($"{root} is not there");
        }

        foreach (string member in (string[])[root, .. Directory.EnumerateDirectories(root).Order(StringComparer.Ordinal)])
        {
            IReadOnlyList<BackupPlace> places = BackupPlace.Of(member);
            for (int i = 0; i < places.Count; i++)
            {
                if (places[i].IsFinished && ReadInfo(places[i], warn) is { } info)
                {
                    yield return (places[i], info, [.. places.Skip(i + 1)]);
                }
            }
        }
    }

    private static BackupInfo? ReadInfo(BackupPlace place, Action<string> warn)
    {
        try
        {
            return place.ReadInfo();
        }
        catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            warn(e.Message);
            return null;
        }
    }
}
