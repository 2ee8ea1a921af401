using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Snapshots;

/// <summary>What a member restored from a snapshot is to be. Names and defaults are those of upstream's flags.</summary>
internal sealed record RestoreSettings
{
    /// <summary>Empty when the content comes from elsewhere.</summary>
    public string SnapshotPath { get; init; } = "";

    public required string DataDirectory { get; init; }

    /// <summary>Null: the log goes to the data directory.</summary>
    public string? WalDirectory { get; init; }

    public required string Name { get; init; }

    public required IReadOnlyList<string> PeerUrls { get; init; }

    /// <summary>Name and peer addresses of each member.</summary>
    public required IReadOnlyList<(string Name, IReadOnlyList<string> Urls)> InitialCluster { get; init; }

    public required string ClusterToken { get; init; }

    public bool SkipHashCheck { get; init; }

    /// <summary>By how much the newest revision is raised, which is compacted then: 0 for not, at most <see cref="SnapshotRestore.RevisionBumpMax"/>.</summary>
    public long RevisionBump { get; init; }
}

/// <summary>Makes the data directory of a member of a new cluster that has the content of a snapshot.</summary>
internal static class SnapshotRestore
{
    // Every member of the new cluster begins with the same log: one entry a member, as if they had been added one after another.
    private const ulong FirstTerm = 1;

    /// <summary>Above it there are as many revisions again for what is written later.</summary>
    public const long RevisionBumpMax = 1L << 61;

    /// <exception cref="InvalidDataException">The snapshot or the settings are wrong.</exception>
    /// <exception cref="IOException">The disk refused, or the file is damaged.</exception>
    public static void Run(IDisk disk, RestoreSettings settings)
    {
        VerifySettings(settings);
        using IDiskFile file = disk.Open(settings.SnapshotPath, DiskOpen.Read);
        if (!settings.SkipHashCheck)
        {
            SnapshotFile.Verify(file);
        }

        DatabaseReader reader = new(file, settings.SnapshotPath, SnapshotFile.DatabaseBytes(file));
        using MvccStore store = reader.ReadStore();
        Write(disk, settings, store, reader.ReadAuth());
    }

    /// <exception cref="InvalidDataException">The settings contradict each other, or the directory is not empty.</exception>
    public static void VerifySettings(RestoreSettings settings)
    {
        if (Directory.Exists(settings.DataDirectory) && Directory.EnumerateFileSystemEntries(settings.DataDirectory).Any())
        {
            throw new InvalidDataException($"data-dir \"{settings.DataDirectory}\" not empty or could not be read");
        }

        if (Directory.Exists(settings.WalDirectory) && Directory.EnumerateFileSystemEntries(settings.WalDirectory).Any())
        {
            throw new InvalidDataException($"wal-dir \"{settings.WalDirectory}\" not empty or could not be read");
        }

        IReadOnlyList<string> urls = settings.InitialCluster.FirstOrDefault(m => m.Name == settings.Name).Urls
            ?? throw new InvalidDataException($"couldn't find local name \"{settings.Name}\" in the initial cluster configuration");
        if (!urls.Order(StringComparer.Ordinal).SequenceEqual(settings.PeerUrls.Order(StringComparer.Ordinal)))
        {
            string missing = string.Join(",", urls.Order(StringComparer.Ordinal).Select(u => $"{settings.Name}={u}"));
            throw new InvalidDataException(
                $"--initial-cluster has {missing} but missing from --initial-advertise-peer-urls={string.Join(",", settings.PeerUrls)}");
        }

        if (settings.InitialCluster.SelectMany(static m => m.Urls).GroupBy(static u => u).Any(static g => g.Count() > 1))
        {
            throw new InvalidDataException("initial cluster has conflicting peer URLs: each member needs its own");
        }
    }

    /// <summary>Makes the newest revision one that is later by so much, and compacts to it; 0 for neither.</summary>
    /// <exception cref="InvalidDataException">There is no such revision.</exception>
    internal static void Raise(MvccStore store, long bump)
    {
        if (bump > long.MaxValue - store.Revision)
        {
            throw new InvalidDataException($"revision {store.Revision} cannot be raised by {bump}");
        }

        if (bump > 0)
        {
            store.Bump(store.Revision + bump);
        }
    }

    private static Member MemberOf(string name, IReadOnlyList<string> urls, string token)
    {
        Member member = new() { ID = ClusterIdentity.MemberId(urls, token), Name = name };
        member.PeerURLs.AddRange(urls);
        return member;
    }

    /// <summary>The directory of a member of a new cluster: a checkpoint with this content, and a log that says whose it is.</summary>
    /// <param name="store">Its revision is raised when the settings say so.</param>
    /// <exception cref="InvalidDataException">There is no such revision.</exception>
    public static void Write(IDisk disk, RestoreSettings settings, MvccStore store, AuthTables auth)
    {
        Raise(store, settings.RevisionBump);
        List<Member> members = [.. settings.InitialCluster.Select(m => MemberOf(m.Name, m.Urls, settings.ClusterToken)).OrderBy(static m => m.ID)];
        ulong cluster = ClusterIdentity.ClusterId(members.Select(static m => m.ID));
        ulong self = members.First(m => m.Name == settings.Name).ID;
        CheckpointHead head = new() { ClusterId = cluster, Index = (ulong)members.Count, Term = FirstTerm, Auth = auth };
        head.Voters.AddRange(members.Select(static m => m.ID));
        head.Members.AddRange(members);
        ReplicaSettings directories = new() { DataDirectory = settings.DataDirectory, DedicatedWalDirectory = settings.WalDirectory };
        disk.CreateDirectory(settings.DataDirectory);
        using DirectoryLock directoryLock = DirectoryLock.Acquire(settings.DataDirectory);
        if (settings.ClusterToken != EtcdFlags.TokenDefault)
        {
            // Who named none may name one at the start, as scripts for etcd do.
            FoundingToken.Write(disk, settings.DataDirectory, settings.ClusterToken);
        }

        LogHead log = new() { Identity = (cluster, self), State = new HardState(new Term(FirstTerm), MemberId.None, new LogIndex(head.Index)) };
        MemberFiles.Write(disk, (directories.CheckpointDirectory, directories.WalDirectory), directories.SegmentBytes, head, store, log, []);
    }
}
