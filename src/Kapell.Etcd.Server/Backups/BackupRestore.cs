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
/// <param name="Revision">Of the store that was written; later than what was restored when that was asked for.</param>
/// <param name="Hash">As etcd's HashKV gives it, over what was written to the new directory and read back.</param>
/// <param name="RestoredRevision">Of the content.</param>
internal sealed record RestoredBackup(ReplayedBackup From, string Directory, long Revision, uint Hash, long RestoredRevision);

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
        long restored = store.Revision;
        SnapshotRestore.Write(disk, settings, store, AuthRecordsCodec.Save(replayed.Content.Auth));
        uint expected = StoreHash.Compute(store, store.Revision);
        ContentSum sum = ContentSum.Of(store, store.Revision, store.CompactRevision, Alone);
        (uint hash, ContentSum written) = ReadBack(disk, settings);
        return hash == expected && written == sum
            ? new RestoredBackup(replayed, settings.DataDirectory, store.Revision, hash, restored)
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

    /// <summary>
    /// Each member's backups are read as far as the point, and the one that goes furthest is taken. A cluster that was restored before has
    /// several histories in its folders: the newest is meant, for a time the one that was being made then, for a revision the newest that
    /// has it.
    /// </summary>
    private static ReplayedBackup Find(IDisk disk, string root, RestorePoint point, Action<string> warn)
    {
        List<Chain> all = [.. Chains(root, warn)];
        if (all.SelectMany(static c => c.Wholes).Select(static a => a.Info.ClusterId).Distinct().Count() > 1)
        {
            throw new InvalidDataException($"{root} has backups of several clusters: give the folder of one member of the one that is meant");
        }

        if (all.Count == 0)
        {
            throw new InvalidDataException($"there is no whole backup in {root}");
        }

        List<Chain> usable = [.. Meant(all, point).Where(c => c.Wholes.Any(w => point.IsReachableFrom(w.Info)))];
        if (usable.Count == 0)
        {
            BackupInfo oldest = all.SelectMany(static c => c.Wholes).MinBy(static a => a.Info.TakenAt).Info;
            throw new InvalidDataException($"{point} is before the oldest backup in {root}, which is of revision {oldest.Revision}, {RestorePoint.Show(oldest.TakenAt)}");
        }

        List<string> troubles = [];
        Eras eras = new([.. all.Select(static c => c.History.Start)], point.Time);
        ReplayedBackup? best = null;
        BackupHistory? history = null;
        bool reached = false;
        foreach (Chain chain in usable)
        {
            ReplayedBackup? replayed = Replay(disk, chain, point, troubles);
            if (replayed is null)
            {
                continue;
            }

            bool later = best is not null && point.Revision is null && eras.Of(replayed) > eras.Of(best);
            bool same = best is null || point.Revision is not null || eras.Of(replayed) == eras.Of(best);
            reached = later ? replayed.Reached : reached || (same && replayed.Reached);
            bool better = best is null || later || (same && (replayed.Revision, replayed.Last).CompareTo((best.Revision, best.Last)) > 0)
                || (point.Revision is not null && replayed.Reached);
            (better ? best : replayed)?.Dispose();
            (best, history) = better ? (replayed, chain.History) : (best, history);
            if (point.Revision is not null && reached)
            {
                break;
            }
        }

        if (best is not null && reached && all.Any(c => c.History.Start != history!.Start))
        {
            warn($"{root} has several histories, since the cluster was restored or founded anew: this is of the one in {history!.Directory}");
        }

        return Furthest(best is null ? null : best with { Reached = reached }, point, root, troubles, warn);
    }

    private static IEnumerable<Chain> Meant(List<Chain> all, RestorePoint point)
    {
        IEnumerable<Chain> newestFirst = all.OrderByDescending(static c => c.History.Start)
            .ThenByDescending(static c => c.Wholes.Max(static w => w.Info.Revision));
        return point.Revision is not null ? newestFirst
            : newestFirst.Where(c => point.Time is null || c.History.Start <= point.Time).GroupBy(static c => c.Member).Select(static g => g.First());
    }

    /// <summary>Of one member's history: the newest whole backup that can be read, and its log.</summary>
    private static ReplayedBackup? Replay(IDisk disk, Chain chain, RestorePoint point, List<string> troubles)
    {
        ReplayedBackup? furthest = null;
        foreach ((BackupPlace place, _, BackupPlace[] later) in chain.Wholes.Where(w => point.IsReachableFrom(w.Info)).Reverse())
        {
            ReplayedBackup? replayed = Try(disk, point, place, later, troubles);
            bool whole = replayed is { Reached: true } && (point.Revision is not null || point.Time is not null || replayed.EndsBecause.Length == 0);
            bool better = replayed is not null && (whole || furthest is null || replayed.Revision > furthest.Revision);
            (better ? furthest : replayed)?.Dispose();
            furthest = better ? replayed : furthest;
            if (whole)
            {
                break;
            }
        }

        return furthest;
    }

    /// <summary>No log reaches the point. As far as it goes is right when nothing else was asked for, or when the cluster was at rest then.</summary>
    private static ReplayedBackup Furthest(ReplayedBackup? furthest, RestorePoint point, string root, List<string> troubles, Action<string> warn)
    {
        if (furthest is { Reached: true })
        {
            troubles.ForEach(warn);
            if (point is { Revision: null, Time: null } && furthest.EndsBecause.Length > 0)
            {
                warn($"the log goes no further than revision {furthest.Revision}: {furthest.EndsBecause}");
            }

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

    private static IEnumerable<Chain> Chains(string root, Action<string> warn)
    {
        if (!Directory.Exists(root))
        {
            throw new InvalidDataException($"{root} is not there");
        }

        IEnumerable<string> below = Directory.EnumerateDirectories(root).Where(static d => !BackupHistory.IsOne(d)).Order(StringComparer.Ordinal);
        foreach (string member in (string[])[root, .. below])
        {
            foreach (BackupHistory history in BackupHistory.Of(member))
            {
                IReadOnlyList<BackupPlace> places = BackupPlace.Of(history.Directory);
                List<(BackupPlace Place, BackupInfo Info, BackupPlace[] Later)> wholes = [];
                for (int i = 0; i < places.Count; i++)
                {
                    if (places[i].IsFinished && ReadInfo(places[i], warn) is { } info)
                    {
                        wholes.Add((places[i], info, [.. places.Skip(i + 1)]));
                    }
                }

                if (wholes.Count > 0)
                {
                    yield return new Chain(member, history, wholes);
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

    /// <summary>The whole backups of one history of one member, in order.</summary>
    private sealed record Chain(string Member, BackupHistory History, IReadOnlyList<(BackupPlace Place, BackupInfo Info, BackupPlace[] Later)> Wholes);

    /// <summary>
    /// Which history a backup that is read belongs to, over all members: one that ends before another member began its next is of an older one,
    /// though it may go further. A history that a member began for reasons of its own parts it from no member that goes on.
    /// </summary>
    private sealed class Eras(DateTimeOffset[] starts, DateTimeOffset? until)
    {
        public DateTimeOffset Of(ReplayedBackup replayed)
        {
            DateTimeOffset end = until is { } time && time < replayed.Until ? time : replayed.Until;
            return starts.Where(s => s <= end).DefaultIfEmpty(DateTimeOffset.MinValue).Max();
        }
    }
}
