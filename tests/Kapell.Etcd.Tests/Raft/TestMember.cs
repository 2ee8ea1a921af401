using Kapell.Base;
using Kapell.Raft;
using Kapell.Raft.Encoding;
using Xunit;

namespace Kapell.Etcd.Tests.Raft;

/// <summary>One member with a disk that forgets what was not flushed, and a state machine that is the list of what was applied.</summary>
internal sealed class TestMember
{
    private readonly Prng _prng;
    private readonly bool _slowDisk;
    private readonly Queue<Ready> _writing = new();
    private HardState _hardState;
    private SnapshotMetadata _snapshot = new(default, ConfState.Empty);
    private List<Entry> _snapshotContent = [];
    private readonly List<Entry> _disk = [];

    public TestMember(MemberId id, Prng prng, IReadOnlyList<MemberId> founders, bool slowDisk, Func<RaftConfig, RaftConfig> configure)
    {
        (Id, _prng, _slowDisk, Configure) = (id, prng, slowDisk, configure);
        Node = NewNode();
        if (founders.Count > 0)
        {
            Node.Bootstrap([.. founders.Select(f => ConfChange.Of(ConfChangeKind.AddVoter, f))]);
            Pump();
            while (FlushOne())
            {
            }
        }
    }

    public MemberId Id { get; }

    public RaftNode Node { get; private set; }

    public Func<RaftConfig, RaftConfig> Configure { get; }

    /// <summary>Everything applied, in order; checkpoints carry it to others.</summary>
    public List<Entry> Applied { get; private set; } = [];

    public List<ReadState> Reads { get; } = [];

    public List<Message> Outbox { get; } = [];

    /// <summary>The newest content of our checkpoints, by index, as a host would keep the files.</summary>
    public List<Entry> CheckpointContent => _snapshotContent;

    /// <summary>The content of a checkpoint that was sent to us, to be installed when Ready asks.</summary>
    public List<Entry> Arrived { get; set; } = [];

    public int Writing => _writing.Count;

    public IEnumerable<string> AppliedTexts => Applied.Where(e => e.Kind == EntryKind.Normal && !e.Data.IsEmpty)
        .Select(e => System.Text.Encoding.UTF8.GetString(e.Data.Span));

    public void Pump()
    {
        while (Node.HasReady)
        {
            Ready ready = Node.TakeReady();
            Outbox.AddRange(ready.Messages);
            Reads.AddRange(ready.ReadStates);
            _writing.Enqueue(ready);
            Apply(ready.Committed);
            if (!_slowDisk)
            {
                FlushOne();
            }
        }
    }

    /// <summary>The disk finishes the oldest write; false when there is none.</summary>
    public bool FlushOne()
    {
        if (!_writing.TryDequeue(out Ready? ready))
        {
            return false;
        }

        Write(ready);
        Node.Persisted(ready.Number);
        Outbox.AddRange(ready.MessagesAfterPersist);
        Pump();
        return true;
    }

    public void Checkpoint(int keep)
    {
        if (Applied.Count == 0)
        {
            return;
        }

        _snapshot = new SnapshotMetadata(Applied[^1].Position, Node.ConfState);
        _snapshotContent = [.. Applied];
        Node.CheckpointTaken(_snapshot);
        ulong index = _snapshot.Index.Value;
        if (index > (ulong)keep)
        {
            LogIndex to = new(index - (ulong)keep);
            Node.Compact(to);
        }
    }

    /// <summary>The process dies: what was not flushed is lost, or part of it survives by chance (a whole Ready at a time).</summary>
    public void Restart()
    {
        while (_writing.Count > 0 && _prng.Chance(0.5))
        {
            Write(_writing.Dequeue());
        }

        _writing.Clear();
        Outbox.Clear();
        Reads.Clear();
        Applied = [.. _snapshotContent];
        Node = NewNode();
        Pump();
    }

    private RaftNode NewNode()
    {
        RaftStart start = new()
        {
            HardState = _hardState,
            Snapshot = _snapshot,
            Entries = [.. _disk.Where(e => e.Index > _snapshot.Index)],
        };
        return new RaftNode(Configure(new RaftConfig { Id = Id, Prng = _prng.Split() }), start);
    }

    private void Write(Ready ready)
    {
        if (ready.Snapshot is { } snapshot)
        {
            Assert.Equal(snapshot.Index, Arrived[^1].Index);
            _disk.Clear();
            (_snapshot, _snapshotContent) = (snapshot, Arrived);
            Applied = [.. Arrived];
        }

        if (ready.Entries.Count > 0)
        {
            _disk.RemoveAll(e => e.Index >= ready.Entries[0].Index);
            foreach (Entry entry in ready.Entries)
            {
                // Through the bytes, as on a real disk.
                Assert.True(RaftCodec.TryDecode(RaftCodec.Encode(entry), out Entry? read));
                _disk.Add(read!);
            }
        }

        _hardState = ready.HardState ?? _hardState;
    }

    private void Apply(IReadOnlyList<Entry> committed)
    {
        foreach (Entry entry in committed)
        {
            Assert.Equal((Applied.Count == 0 ? LogIndex.Zero : Applied[^1].Index).Next(), entry.Index);
            Applied.Add(entry);
            if (entry.Kind == EntryKind.ConfChange)
            {
                Assert.True(ConfChange.TryDecode(entry.Data, out ConfChange change));
                Node.ApplyConfChange(change);
            }

            Node.Applied(entry.Index);
        }
    }
}
