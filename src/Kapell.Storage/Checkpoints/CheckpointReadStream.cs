using System.Buffers.Binary;

namespace Kapell.Storage.Checkpoints;

/// <summary>Reads the content of a checkpoint as a stream; each block is verified before any of it is given out.</summary>
/// <exception cref="CorruptLogException">From any read: the file is damaged.</exception>
public sealed class CheckpointReadStream : Stream
{
    private readonly IDiskFile _file;
    private readonly string _path;
    private readonly byte[] _block = new byte[CheckpointFormat.BlockBytes];
    private int _start;
    private int _end;
    private long _offset;
    private ulong _total;
    private uint _crc;
    private bool _atEnd;

    internal CheckpointReadStream(IDisk disk, string path)
    {
        _path = path;
        _file = disk.Open(path, DiskOpen.Read);
        try
        {
            byte[] head = new byte[CheckpointFormat.HeadBytes];
            int read = _file.Read(0, head);
            Tag = CheckpointFormat.ReadHead(head.AsSpan(0, read), path);
            FileBytes = _file.Length;
            _offset = CheckpointFormat.HeadBytes;
        }
        catch
        {
            _file.Dispose();
            throw;
        }
    }

    public ulong Tag { get; }

    public long FileBytes { get; }

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => (long)_total - (_end - _start);
        set => throw new NotSupportedException();
    }

    public override int Read(Span<byte> buffer)
    {
        if (_start == _end && !_atEnd)
        {
            ReadBlock();
        }

        int count = Math.Min(buffer.Length, _end - _start);
        _block.AsSpan(_start, count).CopyTo(buffer);
        _start += count;
        return count;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _file.Dispose();
        }

        base.Dispose(disposing);
    }

    private void ReadBlock()
    {
        byte[] head = new byte[CheckpointFormat.BlockHeadBytes];
        if (_file.Read(_offset, head) < head.Length)
        {
            throw new CorruptLogException(_path, _offset, "the file ends without its last block");
        }

        int length = BinaryPrimitives.ReadInt32LittleEndian(head);
        uint crc = BinaryPrimitives.ReadUInt32LittleEndian(head.AsSpan(4));
        if (length == 0)
        {
            ReadTrail(crc);
            return;
        }

        bool plausible = length is > 0 and <= CheckpointFormat.BlockBytes;
        if (!plausible || _file.Read(_offset + head.Length, _block.AsSpan(0, length)) < length)
        {
            throw new CorruptLogException(_path, _offset, "the length of the block is impossible or the file is cut off");
        }

        _crc = CheckpointFormat.BlockCrc(_crc, _block.AsSpan(0, length));
        if (_crc != crc)
        {
            throw new CorruptLogException(_path, _offset, "the checksum of the block does not match");
        }

        _offset += head.Length + length;
        _total += (ulong)length;
        (_start, _end) = (0, length);
    }

    private void ReadTrail(uint crc)
    {
        byte[] trail = new byte[sizeof(ulong)];
        bool whole = _file.Read(_offset + CheckpointFormat.BlockHeadBytes, trail) == trail.Length;
        ulong total = BinaryPrimitives.ReadUInt64LittleEndian(trail);
        if (!whole || total != _total || crc != CheckpointFormat.TrailCrc(_crc, total))
        {
            throw new CorruptLogException(_path, _offset, "the end of the checkpoint does not match its content");
        }

        if (FileBytes != _offset + CheckpointFormat.TrailBytes)
        {
            throw new CorruptLogException(_path, _offset + CheckpointFormat.TrailBytes, "bytes follow the end");
        }

        _atEnd = true;
    }
}
