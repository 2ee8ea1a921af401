namespace Kapell.Storage;

/// <summary>A disk that hands everything on to another: for those that change one thing about it.</summary>
public abstract class PassThroughDisk(IDisk disk) : IDisk
{
    public void CreateDirectory(string path) => disk.CreateDirectory(path);

    public IReadOnlyList<string> List(string directory) => disk.List(directory);

    public IDiskFile Open(string path, DiskOpen mode) => Wrap(disk.Open(path, mode));

    public void Rename(string from, string to) => disk.Rename(from, to);

    public void Delete(string path) => disk.Delete(path);

    public virtual void SyncDirectory(string path) => disk.SyncDirectory(path);

    public long FreeBytes(string directory) => disk.FreeBytes(directory);

    /// <summary>What stands before a file of the other disk.</summary>
    protected abstract IDiskFile Wrap(IDiskFile file);

    /// <summary>A file that hands everything on.</summary>
    protected abstract class PassThroughFile(IDiskFile file) : IDiskFile
    {
        public long Length => file.Length;

        public int Read(long offset, Span<byte> buffer) => file.Read(offset, buffer);

        public void Write(long offset, ReadOnlySpan<byte> bytes) => file.Write(offset, bytes);

        public void SetLength(long length) => file.SetLength(length);

        public virtual void WriteBack(long offset, long length) => file.WriteBack(offset, length);

        public virtual void Flush() => file.Flush();

        public virtual void FlushContent(long offset, long length) => file.FlushContent(offset, length);

        public void Dispose()
        {
            file.Dispose();
            GC.SuppressFinalize(this);
        }
    }
}
