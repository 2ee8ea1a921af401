namespace Kapell.Etcd.Server.Rpc;

/// <summary>The limits that flags set. etcd: embed/config.go</summary>
public sealed record EtcdLimits
{
    // etcd: v3rpc/grpc.go grpcOverheadBytes: what the frame around a request may add.
    public const int FrameBytes = 512 * 1024;

    public int RequestBytesMax { get; init; } = 1536 * 1024;

    public int TxnOperationsMax { get; init; } = 128;

    /// <summary>Zero or less: none.</summary>
    public long QuotaBytes { get; init; } = 2L << 30;

    public TimeSpan WatchProgressInterval { get; init; } = TimeSpan.FromMinutes(10);
}
