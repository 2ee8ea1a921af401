using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Protocol;
using Kapell.Mvcc;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Snapshots;

/// <summary>Where databases lie while they are sent. What a crash left there is deleted when this is made.</summary>
public sealed class SnapshotFiles
{
    private readonly IDisk _disk;
    private readonly string _directory;
    private long _next;

    public SnapshotFiles(IDisk disk, string directory)
    {
        (_disk, _directory) = (disk, directory);
        disk.CreateDirectory(directory);
        foreach (string left in disk.List(directory))
        {
            disk.Delete(Path.Combine(directory, left));
        }
    }

    /// <summary>The store of now as a database of etcd in a file, written beside everything else.</summary>
    public async Task<SavedSnapshot> SaveAsync(ReplicaHost host, CancellationToken cancellation)
    {
        (CheckpointHead head, RevisionSource source) = await host.OwnAsync(
            static r => (Head: CheckpointContent.HeadOf(r), Source: r.Applier.Store.BeginRevisions()), static begun => begun.Source.End(), cancellation);
        try
        {
            return await Task.Run(() => Write(host, head, source, cancellation), CancellationToken.None);
        }
        finally
        {
            host.PostOwned(source.End);
        }
    }

    private SavedSnapshot Write(ReplicaHost host, CheckpointHead head, RevisionSource source, CancellationToken cancellation)
    {
        string path = Path.Combine(_directory, $"{Interlocked.Increment(ref _next)}.db");
        IDiskFile file = _disk.Open(path, DiskOpen.Create);
        try
        {
            long bytes = DatabaseWriter.Write(file, head, source, host.WhileUnchanged, cancellation);
            return new SavedSnapshot(_disk, path, file, bytes);
        }
        catch
        {
            file.Dispose();
            _disk.Delete(path);
            throw;
        }
    }
}

/// <summary>A snapshot file, deleted with this object.</summary>
public sealed class SavedSnapshot(IDisk disk, string path, IDiskFile file, long bytes) : IDisposable
{
    public long Bytes => bytes;

    public IDiskFile File => file;

    public void Dispose()
    {
        file.Dispose();
        disk.Delete(path);
    }
}
