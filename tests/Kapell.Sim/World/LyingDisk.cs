using Kapell.Storage;

namespace Kapell.Sim.World;

/// <summary>A disk that says "flushed" and did nothing.</summary>
internal sealed class LyingDisk(IDisk disk) : IDisk
{
    public void CreateDirectory(string path) => disk.CreateDirectory(path);

    public IReadOnlyList<string> List(string directory) => disk.List(directory);

    public IDiskFile Open(string path, DiskOpen mode) => new LyingFile(disk.Open(path, mode));

    public void Rename(string from, string to) => disk.Rename(from, to);

    public void Delete(string path) => disk.Delete(path);

    public void SyncDirectory(string path) => disk.SyncDirectory(path);

    public long FreeBytes(string directory) => disk.FreeBytes(directory);

    private sealed class LyingFile(IDiskFile file) : IDiskFile
    {
        // The head of a file is kept, so that what is lost is what was acknowledged and not the file itself.
        private bool _headKept;

        public long Length => file.Length;

        public int Read(long offset, Span<byte> buffer) => file.Read(offset, buffer);

        public void Write(long offset, ReadOnlySpan<byte> bytes) => file.Write(offset, bytes);

        public void SetLength(long length) => file.SetLength(length);

        public void WriteBack(long offset, long length) => file.WriteBack(offset, length);

        public void Flush()
        {
            if (!_headKept)
            {
                _headKept = true;
                file.Flush();
            }
        }

        public void Dispose() => file.Dispose();
    }
}
