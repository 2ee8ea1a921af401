using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;

namespace Kapell.Sim.World;

/// <summary>A checkpoint being written, a small piece at a time.</summary>
internal sealed class CheckpointJob
{
    private const int PieceBytes = 2048;
    private readonly CheckpointSource _source;
    private readonly CheckpointWriteStream _file;
    private readonly IEnumerator<long> _pieces;
    private bool _ended;

    public CheckpointJob(IDisk disk, string directory, Replica replica)
    {
        CheckpointHead head = CheckpointContent.HeadOf(replica);
        Metadata = CheckpointContent.MetadataOf(head);
        _source = replica.Applier.Store.BeginCheckpoint();
        _file = CheckpointFile.Create(disk, directory, head.Index);
        _pieces = CheckpointContent.WritePieces(_file, head, _source, static work => work(), PieceBytes).GetEnumerator();
    }

    public SnapshotMetadata Metadata { get; }

    /// <summary>False when the checkpoint exists.</summary>
    public bool Step()
    {
        if (_pieces.MoveNext())
        {
            return true;
        }

        _file.Commit();
        Abandon();
        return false;
    }

    public void Abandon()
    {
        if (!_ended)
        {
            _ended = true;
            _pieces.Dispose();
            _source.End();
        }
    }
}
