using System.Diagnostics;
using System.Runtime.ExceptionServices;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Base;
using Kapell.Bench.Light;
using Kapell.Etcd.Protocol;

namespace Kapell.Bench.Scale;

/// <summary>Keys by number, made when they are needed: ten million of them would be the generator's whole memory.</summary>
internal sealed class ScaleLoad : IDisposable
{
    private const int PutsPerTxnMax = 64;
    private const int Parallel = 24;

    private const int PendingMax = 10_000;
    private static readonly TimeSpan ConnectPatience = TimeSpan.FromSeconds(30);

    private readonly LightInvoker[] _connections;
    private readonly KV.KVClient[] _clients;
    private readonly string _format;
    private readonly int _putsPerTxn;
    private readonly ByteString _value;

    private ScaleLoad(ScaleOptions options, LightInvoker[] connections)
    {
        _connections = connections;
        _clients = [.. connections.Select(static c => new KV.KVClient(c))];
        _putsPerTxn = Math.Clamp(LightConnection.RequestBytesMax / 2 / (options.KeySize.Value + options.ValueSize.Value), 1, PutsPerTxnMax);
        _format = "D" + (options.KeySize.Value - "scale/".Length);
        Prng prng = new(7);
        byte[] value = new byte[options.ValueSize.Value];
        for (int i = 0; i < value.Length; i++)
        {
            value[i] = (byte)('a' + prng.NextInt(0, 26));
        }

        _value = ByteString.CopyFrom(value);
    }

    /// <summary>Waits until the target answers, half a minute at most.</summary>
    /// <exception cref="RpcException">It does not.</exception>
    public static async Task<ScaleLoad> ConnectAsync(ScaleOptions options, CancellationToken cancellation)
    {
        Uri address = new(options.Target.Value);
        long begun = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                ScaleLoad load = new(options, [.. Enumerable.Range(0, options.Connections.Value).Select(_ => new LightInvoker(address))]);
                await load._clients[0].RangeAsync(new RangeRequest { Key = load.Key(0) }, cancellationToken: cancellation);
                return load;
            }
            catch (RpcException) when (Stopwatch.GetElapsedTime(begun) < ConnectPatience)
            {
                await Task.Delay(100, cancellation);
            }
        }
    }

    /// <summary>Spread over the whole range of keys, so that neighbours in time are none in order: the hard case for an index.</summary>
    public ByteString Key(long number) => ByteString.CopyFromUtf8("scale/" + Scatter(number).ToString(_format, System.Globalization.CultureInfo.InvariantCulture));

    public async Task FillAsync(long from, long to, CancellationToken cancellation)
    {
        long next = from;
        async Task WorkAsync(int worker)
        {
            while (true)
            {
                long first = Interlocked.Add(ref next, _putsPerTxn) - _putsPerTxn;
                if (first >= to)
                {
                    return;
                }

                TxnRequest txn = new();
                for (long i = first; i < Math.Min(first + _putsPerTxn, to); i++)
                {
                    txn.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = Key(i), Value = _value } });
                }

                await _clients[worker % _clients.Length].TxnAsync(txn, cancellationToken: cancellation);
            }
        }

        await Task.WhenAll(Enumerable.Range(0, Parallel).Select(w => Task.Run(() => WorkAsync(w), cancellation)));
    }

    public async Task PutAsync(int client, long key, CancellationToken cancellation) =>
        await _clients[client % _clients.Length].PutAsync(new PutRequest { Key = Key(key), Value = _value }, cancellationToken: cancellation);

    public async Task RangeAsync(int client, long key, CancellationToken cancellation)
    {
        RangeResponse response = await _clients[client % _clients.Length].RangeAsync(new RangeRequest { Key = Key(key) }, cancellationToken: cancellation);
        if (response.Kvs.Count != 1)
        {
            throw new InvalidDataException($"key {key} was written and is not there");
        }
    }

    public async Task CompactAsync(CancellationToken cancellation)
    {
        RangeResponse now = await _clients[0].RangeAsync(new RangeRequest { Key = Key(0) }, cancellationToken: cancellation);
        try
        {
            await _clients[0].CompactAsync(new CompactionRequest { Revision = now.Header.Revision }, cancellationToken: cancellation);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.OutOfRange)
        {
            // Compacted to there already: nothing was written since.
        }
    }

    /// <summary>
    /// Sends at the rate, whoever is late; each latency counts from when its put was due. By a thread of its own: the platform's timers are
    /// late by a millisecond or two.
    /// </summary>
    public Task SteadyAsync(int rate, TimeSpan duration, long keys, LatencyRecorder latency, LatencyRecorder lateness, Stalls stalls, CancellationToken cancellation) =>
        Task.Factory.StartNew(
            () => Steady(rate, duration, keys, latency, lateness, stalls, cancellation), cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap();

    private async Task Steady(int rate, TimeSpan duration, long keys, LatencyRecorder latency, LatencyRecorder lateness, Stalls stalls, CancellationToken cancellation)
    {
        Prng prng = new(11);
        long begin = Stopwatch.GetTimestamp();
        UnderWay underWay = new();
        long sent = 0;
        TimeSpan pausedBefore = GC.GetTotalPauseDuration();
        while (Stopwatch.GetElapsedTime(begin) < duration)
        {
            long due = (long)(Stopwatch.GetElapsedTime(begin).TotalSeconds * rate);
            for (; sent < due && underWay.Count < PendingMax; sent++)
            {
                long dueAt = begin + (long)((sent + 1.0) / rate * Stopwatch.Frequency);
                lateness.Record(dueAt);
                underWay.Begin();
                _ = TimedPutAsync((int)(sent % _clients.Length), (long)prng.NextBelow((ulong)keys), dueAt, latency, stalls, underWay, cancellation);
            }

            cancellation.ThrowIfCancellationRequested();
            underWay.ThrowIfFailed();
            Thread.Sleep(1);
            TimeSpan paused = GC.GetTotalPauseDuration();
            if (paused > pausedBefore)
            {
                stalls.Paused(paused - pausedBefore);
                pausedBefore = paused;
            }
        }

        while (underWay.Count > 0)
        {
            await Task.Delay(1, cancellation);
        }

        underWay.ThrowIfFailed();
    }

    public void Dispose()
    {
        foreach (LightInvoker connection in _connections)
        {
            connection.Dispose();
        }
    }

    private async Task TimedPutAsync(
        int client, long key, long dueAt, LatencyRecorder latency, Stalls stalls, UnderWay underWay, CancellationToken cancellation)
    {
        try
        {
            TimeSpan sentLate = Stopwatch.GetElapsedTime(dueAt);
            await PutAsync(client, key, cancellation);
            latency.Record(dueAt);
            stalls.Answered(dueAt, sentLate);
        }
        catch (Exception e)
        {
            underWay.Failed(e);
        }
        finally
        {
            underWay.End();
        }
    }

    /// <summary>A number of 48 bits for each of 32 bits, no two alike: the multiplier is odd.</summary>
    private static long Scatter(long number) => (number * 0x9E3779B97F4BL) & 0xFFFF_FFFF_FFFFL;

    /// <summary>Puts that are not answered. Only counted: a list of them would be most of what the generator's collector has to keep.</summary>
    private sealed class UnderWay
    {
        private int _count;
        private ExceptionDispatchInfo? _failure;

        public int Count => Volatile.Read(ref _count);

        public void Begin() => Interlocked.Increment(ref _count);

        public void End() => Interlocked.Decrement(ref _count);

        public void Failed(Exception e) => Interlocked.CompareExchange(ref _failure, ExceptionDispatchInfo.Capture(e), null);

        public void ThrowIfFailed() => Volatile.Read(ref _failure)?.Throw();
    }
}
