using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>What the log says besides its entries.</summary>
/// <param name="Snapshots">Index and term of each that the log knows and that was committed.</param>
/// <param name="Torn">Where a write ended that a crash stopped; null when none did.</param>
internal sealed record EtcdLogOverview(
    ulong Cluster, ulong Member, EtcdHardState State, IReadOnlySet<(ulong Index, ulong Term)> Snapshots, string? Torn);

/// <summary>Reads etcd's write-ahead log, trusting nothing in it. etcd: storage/wal/wal.go ReadAll, ValidSnapshotEntries</summary>
internal sealed class EtcdLogReader
{
    private const long IdentityType = 1;
    private const long EntryType = 2;
    private const long StateType = 3;
    private const long SnapshotType = 5;
    private readonly IDisk _disk;
    private readonly string _directory;
    private readonly List<EtcdSegment> _segments;
    private string? _torn;

    /// <exception cref="TakeoverException">There is no log.</exception>
    public EtcdLogReader(IDisk disk, string directory)
    {
        (_disk, _directory) = (disk, directory);
        _segments = [.. Find(disk, directory).OrderBy(static s => s.Number)];
        if (_segments.Count == 0)
        {
            throw new TakeoverException($"{directory} has no file of etcd's write-ahead log (wal: file not found)");
        }

        // Of old ones the purge may have left some behind: what counts is the newest run without a gap.
        int begin = _segments.Count - 1;
        while (begin > 0 && _segments[begin - 1].Number + 1 == _segments[begin].Number)
        {
            begin--;
        }

        _segments.RemoveRange(0, begin);
    }

    private delegate void RecordVisitor(EtcdLogRecord record, string path, long offset);

    public int Segments => _segments.Count;

    /// <summary>The files of etcd's log in a directory, which must exist.</summary>
    public static IEnumerable<EtcdSegment> Find(IDisk disk, string directory) =>
        disk.List(directory).Select(n => EtcdSegment.Parse(directory, n)).OfType<EtcdSegment>();

    /// <exception cref="TakeoverException">The log is damaged or contradicts itself.</exception>
    public EtcdLogOverview ReadOverview()
    {
        EtcdLogIdentity? identity = null;
        EtcdHardState state = new();
        HashSet<(ulong Index, ulong Term)> snapshots = [];
        Visit(0, (record, path, offset) =>
        {
            switch (record.Type)
            {
                case IdentityType:
                    EtcdLogIdentity said = Parse(EtcdLogIdentity.Parser, record, path, offset);
                    if (identity is not null && !identity.Equals(said))
                    {
                        throw new TakeoverException(path, offset, "wal: conflicting metadata found");
                    }

                    identity = said;
                    break;
                case StateType:
                    state = Parse(EtcdHardState.Parser, record, path, offset);
                    break;
                case SnapshotType:
                    EtcdLogSnapshot snapshot = Parse(EtcdLogSnapshot.Parser, record, path, offset);
                    snapshots.Add((snapshot.Index, snapshot.Term));
                    break;
                case EntryType or EtcdSegmentReader.CrcType:
                    break;
                default:
                    throw new TakeoverException(path, offset, $"unexpected block type {record.Type}");
            }
        });
        if (identity is not { NodeId: > 0, ClusterId: > 0 })
        {
            throw new TakeoverException(_directory, 0, "the log does not say of which member and cluster it is");
        }

        snapshots.RemoveWhere(s => s.Index > state.Commit);
        return new EtcdLogOverview(identity.ClusterId, identity.NodeId, state, snapshots, _torn);
    }

    /// <summary>
    /// The entries after an index, in order and without a gap: where one was written again, it and all after it are the later ones.
    /// </summary>
    /// <param name="after">The index of the snapshot that is begun with.</param>
    /// <param name="keepData">Whether the data of an entry is wanted; else it is left away.</param>
    /// <exception cref="TakeoverException">The log is damaged, or does not reach back to there.</exception>
    public List<EtcdEntry> ReadEntries(ulong after, Func<EtcdEntry, bool> keepData)
    {
        int begin = _segments.FindLastIndex(s => s.FirstIndex <= after);
        if (begin < 0)
        {
            throw new TakeoverException(
                _segments[0].Path, 0, $"wal: file not found: the log begins at entry {_segments[0].FirstIndex}, the newest snapshot that is whole ends at {after}");
        }

        List<EtcdEntry> entries = [];
        Visit(begin, (record, path, offset) =>
        {
            if (record.Type != EntryType || Parse(EtcdEntry.Parser, record, path, offset) is not { } entry || entry.Index <= after)
            {
                return;
            }

            ulong at = entry.Index - after - 1;
            if (at > (ulong)entries.Count)
            {
                throw new TakeoverException(path, offset, $"wal: slice bounds out of range: entry {entry.Index} after entry {after + (ulong)entries.Count}");
            }

            entries.RemoveRange((int)at, entries.Count - (int)at);
            if (entry.Term == 0 || (entries.Count > 0 && entry.Term < entries[^1].Term))
            {
                throw new TakeoverException(path, offset, $"entry {entry.Index} of term {entry.Term} after one of term {entries.LastOrDefault()?.Term ?? 0}");
            }

            if (!keepData(entry))
            {
                entry.Data = ByteString.Empty;
            }

            entries.Add(entry);
        });
        return entries;
    }

    private static T Parse<T>(MessageParser<T> parser, EtcdLogRecord record, string path, long offset)
        where T : IMessage<T>
    {
        try
        {
            return parser.ParseFrom(record.Data);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new TakeoverException(path, offset, $"a record of type {record.Type} cannot be read: {e.Message}");
        }
    }

    private void Visit(int begin, RecordVisitor visitor)
    {
        uint crc = 0;
        for (int i = begin; i < _segments.Count; i++)
        {
            string path = _segments[i].Path;
            using IDiskFile file = _disk.Open(path, DiskOpen.Read);
            EtcdSegmentReader reader = new(file, path, isNewest: i == _segments.Count - 1);
            FrameKind kind;
            for (long offset = 0; (kind = reader.Next(ref crc, out EtcdLogRecord record)) == FrameKind.Record; offset = reader.Offset)
            {
                visitor(record, path, offset);
            }

            _torn = kind == FrameKind.Torn ? $"{path} at {reader.Offset}" : _torn;
        }
    }
}
