using System.Buffers;

namespace Kapell.Client;

/// <summary>Cuts a stream into lines of bounded size; one rented buffer for the whole stream.</summary>
internal sealed class WatchLines(Stream stream) : IDisposable
{
    private const int LineBytesMax = 16 * 1024 * 1024;
    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(16 * 1024);
    private int _start;
    private int _end;

    /// <summary>The next line that is not empty, copied out, or null at the end of the stream.</summary>
    public async ValueTask<byte[]?> NextAsync(CancellationToken cancellation)
    {
        int scanned = 0;
        while (true)
        {
            int newline = _buffer.AsSpan(_start + scanned, _end - _start - scanned).IndexOf((byte)'\n');
            if (newline >= 0)
            {
                byte[] line = _buffer.AsSpan(_start, scanned + newline).ToArray();
                _start += scanned + newline + 1;
                scanned = 0;
                if (line.AsSpan().Trim(" \t\r"u8).Length > 0)
                {
                    return line;
                }

                continue;
            }

            scanned = _end - _start;
            MakeRoom();
            int read = await stream.ReadAsync(_buffer.AsMemory(_end), cancellation);
            if (read == 0)
            {
                // A cut line is no event: the watcher resumes from the last whole one.
                return null;
            }

            _end += read;
        }
    }

    public static async Task<byte[]> ReadAtMostAsync(Stream body, int bytesMax, CancellationToken cancellation)
    {
        using MemoryStream all = new();
        byte[] chunk = new byte[8192];
        int read;
        while (all.Length < bytesMax && (read = await body.ReadAsync(chunk, cancellation)) > 0)
        {
            all.Write(chunk, 0, (int)Math.Min(read, bytesMax - all.Length));
        }

        return all.ToArray();
    }

    public void Dispose() => ArrayPool<byte>.Shared.Return(_buffer);

    private void MakeRoom()
    {
        if (_end < _buffer.Length)
        {
            return;
        }

        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            _end -= _start;
            _start = 0;
            return;
        }

        if (_buffer.Length >= LineBytesMax)
        {
            throw new IOException($"a watch event is larger than {LineBytesMax} bytes");
        }

        byte[] larger = ArrayPool<byte>.Shared.Rent(_buffer.Length * 2);
        _buffer.AsSpan(0, _end).CopyTo(larger);
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = larger;
    }
}
