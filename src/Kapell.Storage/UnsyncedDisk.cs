namespace Kapell.Storage;

/// <summary>
/// A disk on which nothing is ever made certain: for tests that start stores by the hundred and throw them away. After a loss of power
/// anything may be missing; a process that is killed loses nothing. etcd: --unsafe-no-fsync
/// </summary>
public sealed class UnsyncedDisk(IDisk disk) : IDisk
{
    public void CreateDirectory(string path) => disk.CreateDirectory(path);

    public IReadOnlyList<string> List(string directory) => disk.List(directory);

    public IDiskFile Open(string path, DiskOpen mode) => new UnsyncedFile(disk.Open(path, mode));

    public void Rename(string from, string to) => disk.Rename(from, to);

    public void Delete(string path) => disk.Delete(path);

    public void SyncDirectory(string path)
    {
        // On purpose.
    }

    public long FreeBytes(string directory) => disk.FreeBytes(directory);

    private sealed class UnsyncedFile(IDiskFile file) : IDiskFile
    {
        public long Length => file.Length;

        public int Read(long offset, Span<byte> buffer) => file.Read(offset, buffer);

        public void Write(long offset, ReadOnlySpan<byte> bytes) => file.Write(offset, bytes);

        public void SetLength(long length) => file.SetLength(length);

        public void WriteBack(long offset, long length)
        {
            // Nothing waits for a flush that never comes.
        }

        public void Flush()
        {
            // On purpose.
        }

        public void Dispose() => file.Dispose();
    }
}
