using System.Globalization;
using System.Security.Cryptography;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Comparison;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Etcd.Server.Snapshots;
using Kapell.Mvcc;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Maintenance. etcd: api/v3rpc/maintenance.go</summary>
public sealed class MaintenanceService(
    ReplicaHost host, Proposer proposer, EtcdLimits limits, SnapshotFiles files, Authenticator authenticator, ComparisonState comparison, ILoggerFactory logs)
    : Maintenance.MaintenanceBase
{
    private const int PieceBytes = 32 * 1024;
    private readonly ILogger _logger = logs.CreateLogger("etcd");

    public override async Task<AlarmResponse> Alarm(AlarmRequest request, ServerCallContext context)
    {
        if (request.Action == AlarmRequest.Types.AlarmAction.Get)
        {
            await authenticator.RequireCallerAsync(context);
            return host.Reading(() =>
            {
                AlarmResponse response = new() { Header = host.Header.ToMessage(host.Store.Revision) };
                response.Alarms.AddRange(host.Replica.Applier.Alarms.Where(a => request.Alarm == AlarmType.None || a.Alarm == request.Alarm)
                    .Select(static a => new AlarmMember { MemberID = a.Member, Alarm = a.Alarm }));
                return response;
            });
        }

        await authenticator.RequireAdministratorAsync(context);
        Reply reply = await proposer.ProposeAsync(CommandKind.Alarm, request, growth: 0, context);
        return AlarmResponse.Parser.ParseFrom(reply.Span);
    }

    public override async Task<StatusResponse> Status(StatusRequest request, ServerCallContext context)
    {
        await authenticator.RequireCallerAsync(context);
        return host.Reading(Status);
    }

    private StatusResponse Status()
    {
        Replica replica = host.Replica;

        // What is there beside the keys: a store is never of no size, and JSON leaves a zero out.
        long beside = replica.Applier.Members.All.Sum(static m => (long)m.CalculateSize());
        StatusResponse response = new()
        {
            Header = host.Header.ToMessage(host.Store.Revision),
            Version = EtcdVersion.Server,
            StorageVersion = EtcdVersion.Storage,
            DbSize = host.Store.AllocatedBytes + beside,
            DbSizeInUse = host.Store.LiveBytes + beside,
            DbSizeQuota = limits.QuotaBytes,
            Leader = replica.Raft.Leader.Value,
            RaftIndex = replica.Raft.Committed.Value,
            RaftTerm = replica.Raft.Term.Value,
            RaftAppliedIndex = replica.AppliedPosition.Index.Value,
            IsLearner = replica.Raft.ConfState.Learners.Contains(replica.Raft.Id),
            DowngradeInfo = new DowngradeInfo(),
        };
        if (replica.Raft.Leader.IsNone)
        {
            response.Errors.Add(EtcdError.NoLeaderText);
        }

        // As Go prints the message of an alarm.
        response.Errors.AddRange(replica.Applier.Alarms.Select(static a =>
            $"memberID:{a.Member} alarm:{a.Alarm.ToString().ToUpperInvariant()} "));
        // Where the members part, for who looks at the one that found it.
        if (replica.Applier.HasAlarm(AlarmType.Corrupt))
        {
            response.Errors.AddRange(comparison.Differences.Select(static d => d.ToString()));
        }

        return response;
    }

    /// <summary>There is nothing to defragment: memory comes back by itself.</summary>
    public override async Task<DefragmentResponse> Defragment(DefragmentRequest request, ServerCallContext context)
    {
        await authenticator.RequireAdministratorAsync(context);
        long began = host.Time.GetTimestamp();
        (long live, long held) = host.Reading(() => (host.Store.LiveBytes, host.Store.AllocatedBytes));
        CareLog.Defragmented(_logger, live, held);
        host.Times.Defragmentations.Observe(host.Time.GetElapsedTime(began).TotalSeconds);
        return new DefragmentResponse();
    }

    public override async Task<HashResponse> Hash(HashRequest request, ServerCallContext context)
    {
        await authenticator.RequireAdministratorAsync(context);
        HashedStore taken = await host.Hashes.TakeAsync(0, host.Times.Hashes, context.CancellationToken);
        return new HashResponse { Header = host.Header.ToMessage(taken.StoreRevision), Hash = taken.Hash };
    }

    public override async Task<HashKVResponse> HashKV(HashKVRequest request, ServerCallContext context)
    {
        await authenticator.RequireAdministratorAsync(context);
        HashedStore taken = await host.Hashes.TakeAsync(request.Revision, host.Times.RevisionHashes, context.CancellationToken);
        return new HashKVResponse
        {
            Header = host.Header.ToMessage(taken.StoreRevision),
            Hash = taken.Hash,
            CompactRevision = taken.CompactRevision,
            HashRevision = taken.Revision,
        };
    }

    /// <summary>
    /// The store of now as etcd's database, then its SHA-256: what the client appends to its file.
    /// </summary>
    public override async Task Snapshot(
        SnapshotRequest request, IServerStreamWriter<SnapshotResponse> responseStream, ServerCallContext context)
    {
        await authenticator.RequireAdministratorAsync(context);
        long began = host.Time.GetTimestamp();
        using SavedSnapshot saved = await files.SaveAsync(host, context.CancellationToken);
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long sent = 0;
        long total = saved.Bytes;
        while (sent < total)
        {
            byte[] piece = new byte[(int)Math.Min(PieceBytes, total - sent)];
            int read = saved.File.Read(sent, piece);
            if (read < piece.Length)
            {
                throw new RpcException(new Status(StatusCode.Internal, "etcdserver: the snapshot file ended early"));
            }

            hash.AppendData(piece);
            sent += piece.Length;
            SnapshotResponse response = new()
            {
                RemainingBytes = (ulong)(total - sent),
                Blob = UnsafeByteOperations.UnsafeWrap(piece),
                Version = EtcdVersion.Storage,
            };
            await responseStream.WriteAsync(response, context.CancellationToken);
        }

        SnapshotResponse digest = new() { Blob = UnsafeByteOperations.UnsafeWrap(hash.GetHashAndReset()), Version = EtcdVersion.Storage };
        await responseStream.WriteAsync(digest, context.CancellationToken);
        host.Times.Snapshots.Observe(host.Time.GetElapsedTime(began).TotalSeconds);
    }

    public override async Task<MoveLeaderResponse> MoveLeader(MoveLeaderRequest request, ServerCallContext context)
    {
        await authenticator.RequireAdministratorAsync(context);
        EtcdError? error = await host.MoveLeaderAsync(new Raft.MemberId(request.TargetID), context.CancellationToken);
        return error is null ? new MoveLeaderResponse { Header = host.Header.ToMessage(0) } : throw error.ToException();
    }

    // etcd: v3_server.go downgradeValidate: semver, of which the patch may be missing.
    private static bool IsVersion(string text) =>
        text.Split('.') is { Length: 2 or 3 } parts && parts.All(static p => uint.TryParse(p, NumberStyles.None, CultureInfo.InvariantCulture, out _));

    public override async Task<DowngradeResponse> Downgrade(DowngradeRequest request, ServerCallContext context)
    {
        await authenticator.RequireAdministratorAsync(context);

        // No older version reads what this one writes: there is no target that would be allowed, and nothing ever under way.
        EtcdError refusal = request.Action switch
        {
            DowngradeRequest.Types.DowngradeAction.Cancel => EtcdError.NoDowngrade,
            DowngradeRequest.Types.DowngradeAction.Validate or DowngradeRequest.Types.DowngradeAction.Enable =>
                IsVersion(request.Version) ? EtcdError.BadDowngradeTarget : EtcdError.BadDowngradeVersion,
            _ => new EtcdError(StatusCode.Unknown, "etcdserver: unknown method"),
        };
        throw refusal.ToException();
    }
}

/// <summary>What this program says it is.</summary>
public static class EtcdVersion
{
    public const string Server = "3.6.0";
    public const string Cluster = "3.6.0";
    public const string Storage = "3.6.0";

    /// <summary>Without the last number.</summary>
    public const string ClusterShort = "3.6";
}
