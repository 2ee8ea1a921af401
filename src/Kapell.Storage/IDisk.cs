namespace Kapell.Storage;

/// <summary>
/// The disk as the store sees it: synchronous, because its callers own a thread. A name that was created, renamed or deleted is only
/// certain after <see cref="SyncDirectory"/>; bytes are only certain after <see cref="IDiskFile.Flush"/>. Failures are
/// <see cref="DiskFullException"/> and <see cref="DiskFailedException"/>. Safe for concurrent use, each file by one thread at a time.
/// </summary>
public interface IDisk
{
    /// <summary>Creates the directory and its parents, readable by the owner only; does nothing if it is there.</summary>
    void CreateDirectory(string path);

    /// <summary>The names (not paths) of the files in a directory, in ordinal order.</summary>
    IReadOnlyList<string> List(string directory);

    IDiskFile Open(string path, DiskOpen mode);

    /// <summary>Gives the file another name in one step; a file that has that name already is replaced.</summary>
    void Rename(string from, string to);

    void Delete(string path);

    void SyncDirectory(string path);

    /// <summary>Bytes that may still be written where this directory lies.</summary>
    long FreeBytes(string directory);
}

public enum DiskOpen
{
    /// <summary>The file must exist.</summary>
    Read,

    /// <summary>The file must exist.</summary>
    ReadWrite,

    /// <summary>An empty file; one that exists is emptied.</summary>
    Create,
}

/// <summary>An open file, addressed by offset. After a failed write or flush its content is unknown: give it up.</summary>
public interface IDiskFile : IDisposable
{
    long Length { get; }

    /// <summary>Fills the buffer as far as the file goes; less than its length only at the end of the file.</summary>
    int Read(long offset, Span<byte> buffer);

    void Write(long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Shortens, or lengthens with zeros.</summary>
    void SetLength(long length);

    /// <summary>
    /// Waits until what was written there has left memory, so that little is left for <see cref="Flush"/>, which makes it certain: a
    /// flush of much holds up those of other files meanwhile.
    /// </summary>
    void WriteBack(long offset, long length);

    /// <summary>Returns when all that was written (and the length) is on the disk.</summary>
    void Flush();

    /// <summary>
    /// Returns when what was written to this range is on the disk; of what lies outside, nothing is said. All of the range was written and
    /// flushed before: only its content is new, so that nothing of the file system's own need be written.
    /// </summary>
    void FlushContent(long offset, long length);
}
