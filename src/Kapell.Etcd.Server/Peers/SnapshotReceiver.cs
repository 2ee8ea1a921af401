using System.Globalization;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Metrics;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;

namespace Kapell.Etcd.Server.Peers;

/// <summary>Takes in a checkpoint of the leader: to a file of its own, verified, in place, read; only then Raft hears of it.</summary>
internal sealed class SnapshotReceiver(IDisk disk, string directory, ulong clusterId, MemberTimes times, TimeProvider time)
{
    private const int PieceBytes = 256 * 1024;
    private readonly SemaphoreSlim _one = new(1);
    private long _next;

    /// <summary>One is being taken in now.</summary>
    public bool IsTaking => _one.CurrentCount == 0;

    /// <summary>What unfinished transfers of an earlier life left.</summary>
    public void CleanUp()
    {
        disk.CreateDirectory(Incoming);
        foreach (string name in disk.List(Incoming))
        {
            disk.Delete(Path.Combine(Incoming, name));
        }
    }

    private string Incoming => Path.Combine(directory, "incoming");

    /// <exception cref="InvalidDataException">It is damaged, or of another cluster.</exception>
    /// <exception cref="IOException">The disk refused, or the stream broke.</exception>
    public async Task<(CheckpointHead Head, MvccStore Store, InstallSnapshot Message)> TakeAsync(
        InstallSnapshot message, Stream body, CancellationToken cancellation)
    {
        if (!await _one.WaitAsync(TimeSpan.Zero, cancellation))
        {
            throw new IOException("another checkpoint is on its way here");
        }

        string path = Path.Combine(Incoming, (++_next).ToString("x16", CultureInfo.InvariantCulture));
        try
        {
            disk.CreateDirectory(Incoming);
            await StoreAsync(path, body, cancellation);
            (CheckpointHead head, MvccStore store) = await Task.Run(() => Read(path), cancellation);
            CheckpointFile.Adopt(disk, path, directory, head.Index);
            return (head, store, message with { Snapshot = CheckpointContent.MetadataOf(head) });
        }
        catch
        {
            DeleteQuietly(path);
            throw;
        }
        finally
        {
            _one.Release();
        }
    }

    private async Task StoreAsync(string path, Stream body, CancellationToken cancellation)
    {
        long began = time.GetTimestamp();
        using IDiskFile file = disk.Open(path, DiskOpen.Create);
        byte[] piece = new byte[PieceBytes];
        long at = 0;
        while (await body.ReadAtLeastAsync(piece, piece.Length, throwOnEndOfStream: false, cancellation) is var read && read > 0)
        {
            file.Write(at, piece.AsSpan(0, read));
            at += read;
        }

        long flushing = time.GetTimestamp();
        file.Flush();
        times.ReceivedFlushes.Observe(time.GetElapsedTime(flushing).TotalSeconds);
        times.ReceivedCheckpoints.Observe(time.GetElapsedTime(began).TotalSeconds);
    }

    // Read to its very end: the trailer vouches for the whole.
    private LoadedCheckpoint Read(string path)
    {
        using CheckpointReadStream reader = CheckpointFile.Open(disk, path);
        LoadedCheckpoint loaded = CheckpointContent.Read(reader);
        (CheckpointHead head, MvccStore store) = loaded;
        if (head.ClusterId == clusterId && head.Index == reader.Tag && reader.Read(new byte[1]) == 0)
        {
            return loaded;
        }

        store.Dispose();
        throw new InvalidDataException($"the checkpoint at {reader.Tag} is of cluster {head.ClusterId:x} at {head.Index}, this member of {clusterId:x}");
    }

    private void DeleteQuietly(string path)
    {
        try
        {
            if (disk.List(Incoming).Contains(Path.GetFileName(path)))
            {
                disk.Delete(path);
            }
        }
        catch (IOException)
        {
            // The first failure is the one to report; the next start cleans up.
        }
    }
}
