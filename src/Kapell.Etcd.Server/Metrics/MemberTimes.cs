using Kapell.Base;

namespace Kapell.Etcd.Server.Metrics;

/// <summary>
/// How long a member's work took, in seconds if nothing else is said, in upstream's buckets. Upstream's database is our store in memory
/// with its checkpoints: what is measured of one is measured of the other where there is such a thing at all.
/// etcd: wal/metrics.go, backend/metrics.go, snap/metrics.go, mvcc/metrics.go, txn/metrics.go
/// </summary>
internal sealed class MemberTimes(TimeProvider time)
{
    public Histogram LogWrites { get; } = Histogram.Exponential(0.001, 2, 14);

    public Histogram LogFlushes { get; } = Histogram.Exponential(0.001, 2, 14);

    /// <summary>Each piece of a checkpoint, read from the store and written to the disk.</summary>
    public Histogram CheckpointPieces { get; } = Histogram.Exponential(0.001, 2, 14);

    /// <summary>Whole checkpoints.</summary>
    public Histogram Checkpoints { get; } = Histogram.Exponential(0.001, 2, 14);

    /// <summary>The end of each: it is certain then.</summary>
    public Histogram CheckpointFlushes { get; } = Histogram.Exponential(0.001, 2, 14);

    /// <summary>Checkpoints that came from the leader, until they lie on the disk.</summary>
    public Histogram ReceivedCheckpoints { get; } = Histogram.Exponential(0.1, 2, 10);

    public Histogram ReceivedFlushes { get; } = Histogram.Exponential(0.001, 2, 14);

    /// <summary>Snapshots for clients, from the question to the last piece.</summary>
    public Histogram Snapshots { get; } = Histogram.Exponential(0.01, 2, 17);

    /// <summary>Answers to who asked for a defragmentation: nothing is done.</summary>
    public Histogram Defragmentations { get; } = Histogram.Exponential(0.1, 2, 13);

    public Histogram Hashes { get; } = Histogram.Exponential(0.01, 2, 15);

    public Histogram RevisionHashes { get; } = Histogram.Exponential(0.01, 2, 15);

    public OutcomeTimes Ranges { get; } = new(ApplyTimes.New);

    public ApplyTimes Applies { get; } = new(time);

    public CompactionTimes Compactions { get; } = new(time);
}
