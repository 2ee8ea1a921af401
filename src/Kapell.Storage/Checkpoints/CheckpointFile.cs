using System.Globalization;

namespace Kapell.Storage.Checkpoints;

/// <summary>A checkpoint that has been read through and found whole.</summary>
/// <param name="Tag">The caller's place in history (a log index), also in the file name.</param>
public sealed record CheckpointInfo(string Path, ulong Tag, long FileBytes);

/// <summary>
/// Checkpoints of a directory: one file each, opaque content in checked blocks, complete or not there at all (a temporary name, flushed,
/// renamed, the directory flushed).
/// </summary>
public static class CheckpointFile
{
    internal const string TemporaryExtension = ".tmp";
    private const string Extension = ".checkpoint";

    public static string NameOf(ulong tag) => tag.ToString("x16", CultureInfo.InvariantCulture) + Extension;

    /// <summary>Begins a checkpoint; it exists when <see cref="CheckpointWriteStream.Commit"/> returns.</summary>
    public static CheckpointWriteStream Create(IDisk disk, string directory, ulong tag)
    {
        disk.CreateDirectory(directory);
        return new CheckpointWriteStream(disk, directory, tag);
    }

    /// <summary>
    /// The newest checkpoint that is whole, or null if there is none. Each is read through; those that are damaged are skipped and named
    /// in <paramref name="damaged"/>, for whoever must decide whether the log still reaches back far enough.
    /// </summary>
    /// <param name="read">Reads as much as it likes; the rest is read after it.</param>
    /// <param name="discard">For what was read of one that is damaged further on.</param>
    public static CheckpointInfo? ReadLatestGood<T>(
        IDisk disk, string directory, Func<CheckpointReadStream, T> read, Action<T> discard, out IReadOnlyList<CorruptLogException> damaged, out T? content)
        where T : class
    {
        List<CorruptLogException> bad = [];
        damaged = bad;
        disk.CreateDirectory(directory);
        foreach (ulong tag in Tags(disk, directory).OrderDescending())
        {
            string path = Path.Combine(directory, NameOf(tag));
            content = null;
            try
            {
                using CheckpointReadStream reader = new(disk, path);
                content = read(reader);
                return ReadThrough(reader, path);
            }
            catch (CorruptLogException e)
            {
                bad.Add(e);
                if (content is not null)
                {
                    discard(content);
                }
            }
        }

        content = null;
        return null;
    }

    /// <summary>Reads it through.</summary>
    /// <exception cref="CorruptLogException">It is damaged; the message says where.</exception>
    public static CheckpointInfo Verify(IDisk disk, string path)
    {
        using CheckpointReadStream reader = new(disk, path);
        return ReadThrough(reader, path);
    }

    private static CheckpointInfo ReadThrough(CheckpointReadStream reader, string path)
    {
        byte[] block = new byte[CheckpointFormat.BlockBytes];
        while (reader.Read(block) > 0)
        {
            // Reading verifies.
        }

        return new CheckpointInfo(path, reader.Tag, reader.FileBytes);
    }

    /// <summary>The newest by name, not read through; null if there is none.</summary>
    public static string? NewestPath(IDisk disk, string directory) =>
        Tags(disk, directory).Select(static t => (ulong?)t).Max() is { } tag ? Path.Combine(directory, NameOf(tag)) : null;

    /// <summary>Takes in a file that came from elsewhere, flushed and read through by the caller, on the same file system.</summary>
    public static void Adopt(IDisk disk, string path, string directory, ulong tag)
    {
        disk.Rename(path, Path.Combine(directory, NameOf(tag)));
        disk.SyncDirectory(directory);
    }

    public static CheckpointReadStream Open(IDisk disk, string path) => new(disk, path);

    /// <summary>Deletes all but the newest <paramref name="keep"/>, and what unfinished writers left. Call it when none is being written.</summary>
    /// <param name="rest">Called between steps, and what it throws ends the work, with which the next call goes on. Null: in one step each.</param>
    public static void DeleteOld(IDisk disk, string directory, int keep, Action? rest = null)
    {
        foreach (ulong tag in Tags(disk, directory).OrderDescending().Skip(keep))
        {
            string path = Path.Combine(directory, NameOf(tag));
            disk.Rename(path, path + TemporaryExtension);
        }

        disk.SyncDirectory(directory);
        foreach (string left in disk.List(directory).Where(n => n.EndsWith(TemporaryExtension, StringComparison.Ordinal)))
        {
            string path = Path.Combine(directory, left);
            if (rest is null)
            {
                disk.Delete(path);
            }
            else
            {
                disk.DeleteInSteps(path, rest);
            }
        }

        disk.SyncDirectory(directory);
    }

    private static IEnumerable<ulong> Tags(IDisk disk, string directory) =>
        disk.List(directory)
            .Where(n => n.Length == 16 + Extension.Length && n.EndsWith(Extension, StringComparison.Ordinal))
            .Select(n => ulong.TryParse(n[..16], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong tag)
                ? tag
                : (ulong?)null)
            .OfType<ulong>();
}
