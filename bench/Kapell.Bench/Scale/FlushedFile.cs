using Kapell.Base;
using Kapell.Storage;

namespace Kapell.Bench.Scale;

/// <summary>
/// A file that is written and flushed as a write-ahead log is: it has its length, and what is written later changes nothing but bytes that are
/// there. Deleted at the end.
/// </summary>
internal sealed class FlushedFile : IDisposable
{
    private const int FileBytes = 32 << 20;

    private readonly string _path;
    private readonly IDiskFile _file;
    private long _at;

    /// <exception cref="FlagException">There is such a file, or no such folder.</exception>
    public FlushedFile(string path, string flag)
    {
        Demand(path, flag);
        _path = path;
        _file = new FileDisk().Open(path, DiskOpen.Create);
        try
        {
            byte[] page = new byte[4096];
            for (int at = 0; at < FileBytes; at += page.Length)
            {
                _file.Write(at, page);
            }

            _file.Flush();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <exception cref="FlagException">There is such a file, which would be deleted at the end, or no such folder.</exception>
    public static void Demand(string path, string flag)
    {
        if (Path.Exists(path) || !Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(path))))
        {
            throw new FlagException($"--{flag}: {path} must be a new file in a folder that exists");
        }
    }

    /// <summary>Returns when it is on the disk.</summary>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        _at = _at + bytes.Length > FileBytes ? 0 : _at;
        _file.Write(_at, bytes);
        _file.FlushContent(_at, bytes.Length);
        _at += bytes.Length;
    }

    public void Dispose()
    {
        _file.Dispose();
        File.Delete(_path);
    }
}
