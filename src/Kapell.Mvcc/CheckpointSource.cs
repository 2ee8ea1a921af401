using System.Buffers;
using System.Buffers.Binary;
using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>
/// The store at one revision as a stream of bytes, made in pieces. First the numbers and leases; then, in key order, the newest
/// record of each key below the compacted revision; then every change since, in order; then a zero length. Each record is its
/// length (4 bytes with two flags), its place within its revision (4) and its bytes. <see cref="WriteNext"/> needs what a reader needs; ending needs the owner.
/// </summary>
public sealed unsafe class CheckpointSource
{
    internal const uint TombstoneFlag = 0x8000_0000;
    internal const uint BaseFlag = 0x4000_0000;
    internal static ReadOnlySpan<byte> Magic => "KMVCC\0\0\u0002"u8;

    private readonly MvccStore _store;
    private readonly long _compactRevision;
    private readonly IReadOnlyList<LeaseInfo> _leases;
    private readonly long _endPosition;
    private long _position;
    private byte[] _lastKey = [];
    private Stage _stage = Stage.Header;

    internal CheckpointSource(MvccStore store)
    {
        _store = store;
        Revision = store.Revision;
        _compactRevision = store.CompactRevision;
        _leases = store.Leases.All();
        _position = store.Log.LowerBound(_compactRevision);
        _endPosition = store.Log.End;
        store.Pin();
    }

    private enum Stage
    {
        Header,
        Base,
        Changes,
        Done,
        Ended,
    }

    public long Revision { get; }

    public long CompactRevision => _compactRevision;

    /// <summary>Writes about <paramref name="budget"/> bytes more; false when all is written.</summary>
    public bool WriteNext(IBufferWriter<byte> output, int budget)
    {
        Check.That(_stage != Stage.Ended);
        switch (_stage)
        {
            case Stage.Header:
                WriteHeader(output);
                _stage = _compactRevision > 0 ? Stage.Base : Stage.Changes;
                return true;
            case Stage.Base:
                WriteBase(output, budget);
                return true;
            case Stage.Changes:
                WriteChanges(output, budget);
                return true;
            default:
                return false;
        }
    }

    /// <summary>To be called by the owner of the store, whether or not all was written.</summary>
    public void End()
    {
        Check.That(_stage != Stage.Ended);
        _stage = Stage.Ended;
        _store.Unpin();
    }

    private void WriteRecord(IBufferWriter<byte> output, RecordAddress address, uint flags)
    {
        ReadOnlySpan<byte> bytes = _store.ReadBytes(address);
        Span<byte> into = output.GetSpan(bytes.Length + 8);
        BinaryPrimitives.WriteUInt32LittleEndian(into, (uint)bytes.Length | flags);
        BinaryPrimitives.WriteUInt32LittleEndian(into[4..], RecordPages.SubOf(address));
        bytes.CopyTo(into[8..]);
        output.Advance(bytes.Length + 8);
    }

    private void WriteHeader(IBufferWriter<byte> output)
    {
        int size = Magic.Length + 24 + (_leases.Count * 16);
        Span<byte> into = output.GetSpan(size);
        Magic.CopyTo(into);
        Span<byte> rest = into[Magic.Length..];
        BinaryPrimitives.WriteInt64LittleEndian(rest, Revision);
        BinaryPrimitives.WriteInt64LittleEndian(rest[8..], _compactRevision);
        BinaryPrimitives.WriteInt64LittleEndian(rest[16..], _leases.Count);
        for (int i = 0; i < _leases.Count; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(rest[(24 + (i * 16))..], _leases[i].Id);
            BinaryPrimitives.WriteInt64LittleEndian(rest[(32 + (i * 16))..], _leases[i].Ttl);
        }

        output.Advance(size);
    }

    private void WriteBase(IBufferWriter<byte> output, int budget)
    {
        KeyIndex index = _store.Index;
        KeyCursor cursor = index.LowerBound(_lastKey);
        for (KeyEntry* entry = index.At(cursor); entry != null; entry = index.At(cursor))
        {
            if (budget <= 0)
            {
                _lastKey = KeyIndex.Key(entry).ToArray();
                return;
            }

            int at = KeyEntry.IndexAt(entry, _compactRevision - 1);
            if (at >= 0 && !entry->Items[at].Address.IsTombstone)
            {
                WriteRecord(output, entry->Items[at].Address, BaseFlag);
                budget -= _store.ReadBytes(entry->Items[at].Address).Length;
            }

            budget -= 16;
            index.Next(ref cursor);
        }

        _stage = Stage.Changes;
    }

    private void WriteChanges(IBufferWriter<byte> output, int budget)
    {
        for (; _position < _endPosition; _position++)
        {
            if (budget <= 0)
            {
                return;
            }

            RecordAddress address = _store.Log[_position].Address;
            WriteRecord(output, address, address.IsTombstone ? TombstoneFlag : 0);
            budget -= _store.ReadBytes(address).Length;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(output.GetSpan(4), 0);
        output.Advance(4);
        _stage = Stage.Done;
    }
}
