using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// A range in the order of its keys, a piece at a time: none is much larger than a request may be, and nobody is held up for longer than
/// one takes. The pieces merged are what Range would answer; header, more and count stand in the last. etcd: v3_server.go rangeStream
/// </summary>
internal sealed class RangePieces(ReplicaHost host, RangeRequest request, Caller caller, int targetBytes)
{
    private const long FirstKeys = 10;

    private readonly RangeResult _result = new();

    // What is sorted by something else than keys, as Range does when only the target is named, has no pieces.
    private readonly bool _whole = request.SortTarget != RangeRequest.Types.SortTarget.Key;
    private readonly long _keysMax = request.Limit <= 0 || request.CountOnly ? long.MaxValue : request.Limit;
    private ByteString _next = request.Key;
    private long _revision = request.Revision;
    private long _header;
    private long _piece = FirstKeys;
    private long _sent;
    private bool _done;

    /// <summary>Null when all was given.</summary>
    /// <exception cref="Grpc.Core.RpcException">A refusal, or a compaction has overtaken the revision.</exception>
    public Reply? Next()
    {
        if (_done)
        {
            return null;
        }

        host.EnterReading();
        try
        {
            Refuse(_header == 0 ? host.Replica.Applier.Gate.Judge(request, caller) : null);
            long keys = _whole ? _keysMax : Math.Min(_piece, _keysMax - _sent);
            Refuse(ReplyEncoder.ToError(host.Store.Range(Query(keys, request.CountOnly), _result)));
            if (_header == 0)
            {
                // Later writes do not show in later pieces.
                _header = _result.StoreRevision;
                _revision = _revision <= 0 ? _header : _revision;
            }

            return Write(keys);
        }
        finally
        {
            host.ExitReading();
        }
    }

    private Reply Write(long keys)
    {
        long count = request.CountOnly || _whole ? _result.Count : _sent += _result.Records.Count;
        _done = request.CountOnly || _whole || !_result.More || _sent == _keysMax;
        bool more = _result.More;
        ReplyWriter writer = new();
        int mark = writer.Begin(1);
        if (_done)
        {
            host.Header.Write(writer, _header);
        }

        ReplyEncoder.RangeRecords(writer, host.Store, _result, request.KeysOnly);
        if (!_done)
        {
            Advance(keys, writer.Length);
        }
        else
        {
            writer.Flag(3, more);
            writer.Number(4, count + (more && !request.CountOnly && !_whole ? Rest() : 0));
        }

        writer.End(mark);
        return writer.Finish();
    }

    private void Advance(long keys, int bytes)
    {
        _next = After(host.Store.Read(_result.Records[^1]).Key);
        _piece = bytes < targetBytes / 2 ? keys * 2 : bytes > targetBytes * 2L ? Math.Max(1, keys / 2) : keys;
    }

    /// <summary>How many keys lie behind the last one given.</summary>
    private long Rest()
    {
        _next = After(host.Store.Read(_result.Records[^1]).Key);
        Refuse(ReplyEncoder.ToError(host.Store.Range(Query(0, countOnly: true), _result)));
        return _result.Count;
    }

    private RangeQuery Query(long keys, bool countOnly) => new()
    {
        Key = _next.Span,
        End = request.RangeEnd.Span,
        Revision = _revision,
        Limit = keys == long.MaxValue ? 0 : keys,
        CountOnly = countOnly,
        SortTarget = (SortTarget)request.SortTarget,
        StopsAtLimit = !countOnly && !_whole,
    };

    private static ByteString After(ReadOnlySpan<byte> key)
    {
        byte[] next = new byte[key.Length + 1];
        key.CopyTo(next);
        return UnsafeByteOperations.UnsafeWrap(next);
    }

    private static void Refuse(EtcdError? error)
    {
        if (error is not null)
        {
            throw error.ToException();
        }
    }
}
