using System.Globalization;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Proxies.Leasing;

/// <summary>
/// Answers linearizable reads of a key in the proxy, while a leasing key in the store says that nobody else may write it. All who write must
/// go through proxies or clients with the same prefix, of Kapell or of etcd: whoever finds a leasing key of another writes "REVOKE" into it
/// and waits until that one has deleted it. A call with a token is never answered here, for whether it may read is for a member to say.
/// etcd: client/v3/leasing
/// </summary>
/// <param name="prefix">What a leasing key has before its key.</param>
/// <param name="keys">Those that are held.</param>
/// <param name="transact">Has a member carry out a transaction.</param>
/// <param name="time">Paces who waits.</param>
internal sealed class LeasedKv(string prefix, LeasedKeys keys, Func<TxnRequest, CallOptions, Task<TxnResponse>> transact, TimeProvider time)
{
    /// <summary>What a leasing key holds when another wants to write.</summary>
    public static readonly ByteString Revoke = ByteString.CopyFromUtf8("REVOKE");

    // The owner may be gone and with it the word that it has given up.
    private static readonly TimeSpan AskAgain = TimeSpan.FromSeconds(1);

    private readonly KeyNamespace _leasings = new(prefix);

    /// <summary>The methods that it answers.</summary>
    public IReadOnlyDictionary<string, Func<byte[], ServerCallContext, Task<byte[]?>>> Answers() =>
        new Dictionary<string, Func<byte[], ServerCallContext, Task<byte[]?>>>(StringComparer.Ordinal)
        {
            ["/etcdserverpb.KV/Range"] = Answer<RangeRequest, RangeResponse>(RangeRequest.Parser, RangeAsync),
            ["/etcdserverpb.KV/Put"] = Answer<PutRequest, PutResponse>(PutRequest.Parser, PutAsync),
            ["/etcdserverpb.KV/DeleteRange"] = Answer<DeleteRangeRequest, DeleteRangeResponse>(DeleteRangeRequest.Parser, DeleteRangeAsync),
            ["/etcdserverpb.KV/Txn"] = Answer<TxnRequest, TxnResponse>(TxnRequest.Parser, TxnAsync),
        };

    /// <summary>Null: the member is asked as if there were no leases.</summary>
    public async Task<RangeResponse?> RangeAsync(RangeRequest request, CallOptions options)
    {
        if (!LeasedRead.IsOfOneKey(request) || NamesCaller(options))
        {
            return null;
        }

        while (true)
        {
            (RangeResponse? known, Task? busy) = keys.Read(request.Key);
            if (known is not null)
            {
                return LeasedRead.Answer(request, known);
            }

            if (busy is not null)
            {
                await busy.WaitAsync(options.CancellationToken);
                continue;
            }

            return request.Serializable || keys.Begin(request.Key) is not { } begun ? null : await AcquireAsync(request, begun, options);
        }
    }

    /// <summary>Null: the member is asked.</summary>
    public async Task<PutResponse?> PutAsync(PutRequest request, CallOptions options)
    {
        if (request.Key.IsEmpty)
        {
            return null;
        }

        (ResponseOp response, ResponseHeader header) = await WriteAsync(request.Key, new RequestOp { RequestPut = request }, options);
        response.ResponsePut.Header = header;
        return response.ResponsePut;
    }

    /// <summary>Null: the member is asked.</summary>
    public async Task<DeleteRangeResponse?> DeleteRangeAsync(DeleteRangeRequest request, CallOptions options)
    {
        if (request.Key.IsEmpty)
        {
            return null;
        }

        RequestOp op = new() { RequestDeleteRange = request };
        if (request.RangeEnd.IsEmpty)
        {
            (ResponseOp one, ResponseHeader header) = await WriteAsync(request.Key, op, options);
            one.ResponseDeleteRange.Header = header;
            return one.ResponseDeleteRange;
        }

        TxnResponse done = await GuardedAsync([], [(request.Key, request.RangeEnd)], op, options);
        DeleteRangeResponse response = done.Responses[0].ResponseDeleteRange;
        response.Header = done.Header;
        return response;
    }

    /// <summary>Null: it writes nothing, and asks for more than is known here, so that a member is asked.</summary>
    public async Task<TxnResponse?> TxnAsync(TxnRequest request, CallOptions options)
    {
        HashSet<ByteString> written = [];
        List<(ByteString Key, ByteString End)> ranges = [];
        FindWrites(request, written, ranges);
        if (written.Count == 0 && ranges.Count == 0)
        {
            return await KnownAsync(request, options);
        }

        TxnResponse done = await GuardedAsync(written, ranges, new RequestOp { RequestTxn = request }, options);
        TxnResponse response = done.Responses[0].ResponseTxn;
        response.Header = done.Header;
        return response;
    }

    /// <summary>Deletes the leasing key, unless it was made at the revision or after it.</summary>
    public async Task RescindAsync(ByteString key, long before, CallOptions options)
    {
        keys.GiveUp(key);
        ByteString leasing = _leasings.Concat(key);
        TxnRequest request = new();
        request.Compare.Add(MadeBefore(leasing, ByteString.Empty, before));
        request.Success.Add(new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = leasing } });
        await transact(request, options);
    }

    /// <summary>Whether the call says who makes it.</summary>
    private static bool NamesCaller(CallOptions options) =>
        options.Headers is { } headers && headers.Any(static h => h.Key is "token" or "authorization");

    private static Func<byte[], ServerCallContext, Task<byte[]?>> Answer<TRequest, TResponse>(
        MessageParser<TRequest> parser, Func<TRequest, CallOptions, Task<TResponse?>> answer)
        where TRequest : IMessage<TRequest>
        where TResponse : class, IMessage<TResponse> => async (bytes, context) =>
    {
        TRequest request;
        try
        {
            request = parser.ParseFrom(bytes);
        }
        catch (InvalidProtocolBufferException)
        {
            // The member says what is wrong with it.
            return null;
        }

        return (await answer(request, UpstreamCalls.OptionsOf(context)))?.ToByteArray();
    };

    private async Task<TxnResponse?> KnownAsync(TxnRequest request, CallOptions options)
    {
        if (NamesCaller(options) || LeasedRead.KeysOf(request) is not { Count: > 0 } wanted)
        {
            return null;
        }

        while (true)
        {
            (IReadOnlyDictionary<ByteString, RangeResponse>? known, Task? busy) = keys.Read(wanted);
            if (busy is null)
            {
                return known is null ? null : LeasedRead.Answer(request, known);
            }

            await busy.WaitAsync(options.CancellationToken);
        }
    }

    /// <summary>Reads the key and, if nobody has it, makes it this proxy's.</summary>
    private async Task<RangeResponse?> AcquireAsync(RangeRequest request, LeasedKey begun, CallOptions options)
    {
        RangeResponse? held = null;
        try
        {
            long lease = keys.Lease;
            ByteString leasing = _leasings.Concat(request.Key);
            TxnRequest acquire = new();

            // A key that goes when its lease ends goes without anybody asking.
            acquire.Compare.Add(MadeBefore(leasing, ByteString.Empty, 1));
            acquire.Compare.Add(new Compare
            {
                Key = request.Key, Target = Compare.Types.CompareTarget.Lease, Result = Compare.Types.CompareResult.Equal, Lease = 0,
            });
            acquire.Success.Add(new RequestOp { RequestRange = LeasedRead.Of(request.Key) });
            acquire.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = leasing, Lease = lease } });
            acquire.Failure.Add(new RequestOp { RequestRange = LeasedRead.Of(request.Key) });
            acquire.Failure.Add(new RequestOp { RequestRange = LeasedRead.Of(leasing) });
            TxnResponse done = await transact(acquire, options);
            RangeResponse whole = done.Responses[0].ResponseRange;
            whole.Header = done.Header;
            if (done.Succeeded)
            {
                begun.Since = done.Header.Revision;
                held = keys.Lease == lease ? whole : null;
            }
            else if (done.Responses[1].ResponseRange.Kvs is [var other] && other.Lease == lease)
            {
                // Its making was asked for and the answer lost. It may be asked back already.
                await RescindAsync(request.Key, other.CreateRevision + 1, options);
            }

            return LeasedRead.Answer(request, whole);
        }
        catch (RpcException) when (!options.CancellationToken.IsCancellationRequested)
        {
            // A store that takes no writes can still be read.
            return null;
        }
        finally
        {
            keys.Release(begun, held);
        }
    }

    /// <summary>One key is written.</summary>
    private async Task<(ResponseOp Response, ResponseHeader Header)> WriteAsync(ByteString key, RequestOp op, CallOptions options)
    {
        TxnResponse done = await GuardedAsync([key], [], op, options);
        return (done.Responses[0], done.Header);
    }

    /// <summary>Carries out what writes these keys and all of these ranges as soon as nobody else has a lease of any of them.</summary>
    /// <returns>The answer to a transaction that begins with <paramref name="op"/>.</returns>
    private async Task<TxnResponse> GuardedAsync(
        IReadOnlyCollection<ByteString> written, IReadOnlyList<(ByteString Key, ByteString End)> ranges, RequestOp op, CallOptions options)
    {
        // In one order, so that of two calls neither waits for the other.
        ByteString[] sorted = [.. written];
        Array.Sort(sorted, static (a, b) => a.Span.SequenceCompareTo(b.Span));
        while (true)
        {
            options.CancellationToken.ThrowIfCancellationRequested();
            foreach ((ByteString key, ByteString end) in ranges)
            {
                await ClearAsync(key, end, options);
            }

            TxnResponse done = await TryAsync(sorted, ranges, op, options);
            if (done.Succeeded)
            {
                return done;
            }

            foreach (ResponseOp answer in done.Responses)
            {
                await AskBackAsync(answer.ResponseRange.Kvs, options);
            }
        }
    }

    private async Task<TxnResponse> TryAsync(
        ByteString[] written, IReadOnlyList<(ByteString Key, ByteString End)> ranges, RequestOp op, CallOptions options)
    {
        List<LeasedKey> own = [];
        List<RangeResponse?> after = [];
        try
        {
            TxnRequest guarded = new();
            guarded.Success.Add(op);
            bool mayRead = !NamesCaller(options);
            foreach (ByteString key in written)
            {
                ByteString leasing = _leasings.Concat(key);
                LeasedKey? held = await keys.LockAsync(key, options.CancellationToken);
                guarded.Compare.Add(MadeBefore(leasing, ByteString.Empty, (held?.Since ?? 0) + 1));
                guarded.Failure.Add(new RequestOp { RequestRange = LeasedRead.Of(leasing) });
                if (held is not null)
                {
                    own.Add(held);
                    guarded.Success.Add(mayRead
                        ? new RequestOp { RequestRange = LeasedRead.Of(key) }
                        : new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = leasing } });
                }
            }

            foreach ((ByteString key, ByteString end) in ranges)
            {
                (ByteString from, ByteString to) = _leasings.Inside(key, end);
                guarded.Compare.Add(MadeBefore(from, to, 1));
                guarded.Failure.Add(new RequestOp { RequestRange = new RangeRequest { Key = from, RangeEnd = to } });
            }

            TxnResponse done = await transact(guarded, options);
            after = done.Succeeded && mayRead ? Changed(own, done) : done.Succeeded ? [] : Unchanged(own, written, done);
            return done;
        }
        finally
        {
            // What failed may have happened: nothing is known of the keys then, and the next read finds the own leasing key.
            for (int i = 0; i < own.Count; i++)
            {
                keys.Release(own[i], i < after.Count ? after[i] : null);
            }
        }
    }

    /// <summary>What own keys hold after what was done, null for one that will go with a lease, when nobody asks.</summary>
    private static List<RangeResponse?> Changed(List<LeasedKey> own, TxnResponse done)
    {
        List<RangeResponse?> after = [];
        for (int i = 0; i < own.Count; i++)
        {
            RangeResponse now = done.Responses[i + 1].ResponseRange;
            now.Header = done.Header;
            after.Add(now.Kvs.Count == 0 || now.Kvs[0].Lease == 0 ? now : null);
        }

        return after;
    }

    /// <summary>What own keys hold when nothing was done, null for one that another has.</summary>
    private static List<RangeResponse?> Unchanged(List<LeasedKey> own, ByteString[] written, TxnResponse done)
    {
        List<RangeResponse?> after = [];
        foreach (LeasedKey key in own)
        {
            RangeResponse leasing = done.Responses[Array.IndexOf(written, key.Key)].ResponseRange;
            after.Add(leasing.Kvs is [var made] && made.CreateRevision == key.Since ? key.Answer : null);
        }

        return after;
    }

    /// <summary>Nobody has a lease of a key of the range for a moment, this proxy included.</summary>
    private async Task ClearAsync(ByteString key, ByteString end, CallOptions options)
    {
        (ByteString from, ByteString to) = _leasings.Inside(key, end);
        TxnRequest look = new();
        look.Success.Add(new RequestOp { RequestRange = new RangeRequest { Key = from, RangeEnd = to } });
        TxnResponse seen = await transact(look, options);
        await AskBackAsync(seen.Responses[0].ResponseRange.Kvs, options);
    }

    /// <summary>Deletes the own ones of leasing keys, and nobody's, and has others delete theirs; they may not have yet when it returns.</summary>
    private async Task AskBackAsync(IEnumerable<KeyValue> leasings, CallOptions options)
    {
        foreach (KeyValue leasing in leasings)
        {
            ByteString key = _leasings.Strip(leasing.Key);

            // Without a lease nobody would ever give it up: somebody wrote it who knows nothing of leases.
            if (leasing.Lease == 0 || leasing.Lease == keys.Lease)
            {
                await RescindAsync(key, leasing.CreateRevision + 1, options);
                continue;
            }

            Task gone = keys.Await(key);
            try
            {
                TxnRequest revoke = new();
                revoke.Compare.Add(new Compare
                {
                    Key = leasing.Key, Target = Compare.Types.CompareTarget.Create, Result = Compare.Types.CompareResult.Equal, CreateRevision = leasing.CreateRevision,
                });
                revoke.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = leasing.Key, Value = Revoke, IgnoreLease = true } });
                if ((await transact(revoke, options)).Succeeded)
                {
                    await gone.WaitAsync(AskAgain, time, options.CancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
            }
            finally
            {
                keys.Leave(key);
            }
        }
    }

    /// <summary>A key that is not there was made at revision 0; of a range, all that are there.</summary>
    private static Compare MadeBefore(ByteString key, ByteString end, long revision) => new()
    {
        Key = key, RangeEnd = end, Target = Compare.Types.CompareTarget.Create, Result = Compare.Types.CompareResult.Less, CreateRevision = revision,
    };

    private static void FindWrites(TxnRequest request, HashSet<ByteString> written, List<(ByteString Key, ByteString End)> ranges)
    {
        foreach (RequestOp op in request.Success.Concat(request.Failure))
        {
            switch (op.RequestCase)
            {
                case RequestOp.RequestOneofCase.RequestPut:
                    written.Add(op.RequestPut.Key);
                    break;
                case RequestOp.RequestOneofCase.RequestDeleteRange when op.RequestDeleteRange.RangeEnd.IsEmpty:
                    written.Add(op.RequestDeleteRange.Key);
                    break;
                case RequestOp.RequestOneofCase.RequestDeleteRange:
                    ranges.Add((op.RequestDeleteRange.Key, op.RequestDeleteRange.RangeEnd));
                    break;
                case RequestOp.RequestOneofCase.RequestTxn:
                    FindWrites(op.RequestTxn, written, ranges);
                    break;
                default:
                    break;
            }
        }
    }
}
