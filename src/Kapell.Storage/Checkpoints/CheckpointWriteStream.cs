using System.Buffers.Binary;
using Kapell.Base;

namespace Kapell.Storage.Checkpoints;

/// <summary>
/// Writes the content of a checkpoint as a stream. Nothing is visible before <see cref="Commit"/>; disposed without it, the unfinished
/// file is deleted.
/// </summary>
public sealed class CheckpointWriteStream : Stream
{
    private readonly IDisk _disk;
    private readonly string _directory;
    private readonly string _temporary;
    private readonly ulong _tag;
    private readonly IDiskFile _file;
    private readonly byte[] _block = new byte[CheckpointFormat.BlockHeadBytes + CheckpointFormat.BlockBytes];
    private int _filled;
    private long _offset;
    private ulong _total;
    private uint _crc;
    private bool _done;

    internal CheckpointWriteStream(IDisk disk, string directory, ulong tag)
    {
        (_disk, _directory, _tag) = (disk, directory, tag);
        _temporary = Path.Combine(directory, CheckpointFile.NameOf(tag) + CheckpointFile.TemporaryExtension);
        _file = disk.Open(_temporary, DiskOpen.Create);
        _file.Write(0, CheckpointFormat.MakeHead(tag));
        _offset = CheckpointFormat.HeadBytes;
    }

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    /// <summary>Bytes of content so far.</summary>
    public override long Length => (long)_total + _filled;

    public override long Position
    {
        get => Length;
        set => throw new NotSupportedException();
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        Check.That(!_done);
        while (!buffer.IsEmpty)
        {
            int room = Math.Min(buffer.Length, CheckpointFormat.BlockBytes - _filled);
            buffer[..room].CopyTo(_block.AsSpan(CheckpointFormat.BlockHeadBytes + _filled));
            _filled += room;
            buffer = buffer[room..];
            if (_filled == CheckpointFormat.BlockBytes)
            {
                WriteBlock();
            }
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    /// <summary>Makes the checkpoint exist: when this returns it is on the disk under its name.</summary>
    public CheckpointInfo Commit()
    {
        Check.That(!_done);
        WriteBlock();
        Span<byte> trail = stackalloc byte[CheckpointFormat.TrailBytes];
        BinaryPrimitives.WriteInt32LittleEndian(trail, 0);
        BinaryPrimitives.WriteUInt32LittleEndian(trail[4..], CheckpointFormat.TrailCrc(_crc, _total));
        BinaryPrimitives.WriteUInt64LittleEndian(trail[8..], _total);
        _file.Write(_offset, trail);
        _offset += trail.Length;
        _file.Flush();
        _file.Dispose();
        string path = Path.Combine(_directory, CheckpointFile.NameOf(_tag));
        _disk.Rename(_temporary, path);
        _done = true;
        _disk.SyncDirectory(_directory);
        return new CheckpointInfo(path, _tag, _offset);
    }

    /// <summary>Nothing to do: a block is written when it is full.</summary>
    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing && !_done)
        {
            _done = true;
            _file.Dispose();
            _disk.Delete(_temporary);
        }

        base.Dispose(disposing);
    }

    private void WriteBlock()
    {
        if (_filled == 0)
        {
            return;
        }

        Span<byte> block = _block.AsSpan(0, CheckpointFormat.BlockHeadBytes + _filled);
        _crc = CheckpointFormat.BlockCrc(_crc, block[CheckpointFormat.BlockHeadBytes..]);
        BinaryPrimitives.WriteInt32LittleEndian(block, _filled);
        BinaryPrimitives.WriteUInt32LittleEndian(block[4..], _crc);
        _file.Write(_offset, block);

        // A flush of gigabytes at the end would hold up every flush of the log beside it for as long.
        _file.WriteBack(_offset, block.Length);
        _offset += block.Length;
        _total += (ulong)_filled;
        _filled = 0;
    }
}
