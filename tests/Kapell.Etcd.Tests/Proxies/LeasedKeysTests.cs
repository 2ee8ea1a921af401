using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Proxies.Leasing;
using Xunit;

namespace Kapell.Etcd.Tests.Proxies;

public sealed class LeasedKeysTests
{
    private static readonly ByteString Key = ByteString.CopyFromUtf8("k");
    private readonly HandTime _time = new();
    private readonly LeasedKeys _keys;

    public LeasedKeysTests() => _keys = new LeasedKeys(_time);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public void Nothing_is_held_without_a_lease()
    {
        Assert.Null(_keys.Begin(Key));
        Renew();
        Hold("v");
        _keys.End();
        Assert.Equal(default, _keys.Read(Key));
        Assert.Null(_keys.Begin(Key));
    }

    /// <summary>Though nobody has said that it is over.</summary>
    [Fact]
    public void Nothing_is_answered_when_the_lease_may_be_over()
    {
        Renew();
        Hold("v");
        _time.Advance(TimeSpan.FromSeconds(9.9));
        Assert.Equal("v", Read());
        _time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.Equal(default, _keys.Read(Key));
        Assert.Null(_keys.Begin(ByteString.CopyFromUtf8("other")));
        Renew();
        Assert.Equal("v", Read());
    }

    [Fact]
    public async Task A_key_that_is_being_changed_is_waited_for()
    {
        Renew();
        Hold("v");
        LeasedKey held = (await _keys.LockAsync(Key, Cancellation))!;
        (RangeResponse? answer, Task? busy) = _keys.Read(Key);
        Assert.Null(answer);
        Assert.False(busy!.IsCompleted);
        Task<LeasedKey?> second = _keys.LockAsync(Key, Cancellation);
        Assert.Null(_keys.Begin(Key));
        Assert.True(_keys.Release(held, Answer("w")));
        await busy;
        _keys.Release((await second)!, Answer("x"));
        Assert.Equal("x", Read());
    }

    [Fact]
    public async Task What_is_asked_back_while_it_is_asked_for_or_changed_is_not_held()
    {
        Renew();
        LeasedKey begun = _keys.Begin(Key)!;
        _keys.GiveUp(Key);
        Assert.False(_keys.Release(begun, Answer("v")));
        Assert.Equal(default, _keys.Read(Key));
        _time.Advance(LeasedKeys.Backoff * 1.1);
        Hold("v");
        LeasedKey held = (await _keys.LockAsync(Key, Cancellation))!;
        _keys.GiveUp(Key);
        Assert.False(_keys.Release(held, Answer("w")));
        Assert.Equal(default, _keys.Read(Key));
    }

    [Fact]
    public void What_was_asked_back_is_left_alone_for_a_while()
    {
        Renew();
        Hold("v");
        _keys.GiveUp(Key);
        Assert.Null(_keys.Begin(Key));
        _time.Advance(LeasedKeys.Backoff);
        Assert.Null(_keys.Begin(Key));
        _time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.NotNull(_keys.Begin(Key));
    }

    [Fact]
    public async Task What_failed_is_not_held()
    {
        Renew();
        Hold("v");
        Assert.False(_keys.Release((await _keys.LockAsync(Key, Cancellation))!, null));
        Assert.Equal(default, _keys.Read(Key));
        Assert.Null(await _keys.LockAsync(Key, Cancellation));
    }

    [Fact]
    public async Task Who_waits_for_a_leasing_key_to_go_hears_it()
    {
        Task first = _keys.Await(Key);
        Task second = _keys.Await(Key);
        _keys.Gone(ByteString.CopyFromUtf8("other"), 9);
        Assert.False(first.IsCompleted);
        _keys.Gone(Key, 9);
        await Task.WhenAll(first, second).WaitAsync(Cancellation);
        _keys.Leave(Key);

        // One who comes later waits for the next.
        Assert.False(_keys.Await(Key).IsCompleted);
    }

    /// <summary>Somebody took its leasing key away: not this one if it was made later.</summary>
    [Fact]
    public void What_is_lost_is_not_held()
    {
        Renew();
        Hold("v", since: 5);
        _keys.Gone(Key, 4);
        _keys.Lost(Key, 5);
        Assert.Equal("v", Read());
        _keys.Gone(Key, 6);
        Assert.Equal(default, _keys.Read(Key));
        LeasedKey begun = _keys.Begin(Key)!;
        _keys.Lost(Key, 7);
        Assert.False(_keys.Release(begun, Answer("w")));
    }

    [Fact]
    public void Keys_and_bytes_are_bounded()
    {
        Renew();
        byte[] large = new byte[1 << 20];
        int held = 0;
        while (_keys.Begin(ByteString.CopyFrom(BitConverter.GetBytes(held))) is { } begun)
        {
            RangeResponse answer = new() { Kvs = { new KeyValue { Value = UnsafeByteOperations.UnsafeWrap(large) } } };
            _keys.Release(begun, answer);
            held++;
        }

        Assert.Equal(LeasedKeys.BytesMax / large.Length, held);
        _keys.End();
        Renew();
        for (held = 0; _keys.Begin(ByteString.CopyFrom(BitConverter.GetBytes(held))) is { } begun; held++)
        {
            _keys.Release(begun, new RangeResponse());
        }

        Assert.Equal(LeasedKeys.KeysMax, held);
    }

    private static RangeResponse Answer(string value) => new() { Count = 1, Kvs = { new KeyValue { Key = Key, Value = ByteString.CopyFromUtf8(value) } } };

    private void Renew() => _keys.Renew(1, _time.GetTimestamp() + (10 * _time.TimestampFrequency));

    private void Hold(string value, long since = 1)
    {
        LeasedKey begun = _keys.Begin(Key)!;
        begun.Since = since;
        Assert.True(_keys.Release(begun, Answer(value)));
    }

    private string Read() => _keys.Read(Key).Answer!.Kvs[0].Value.ToStringUtf8();

    private sealed class HandTime : TimeProvider
    {
        private long _now;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => _now;

        public void Advance(TimeSpan by) => _now += by.Ticks;
    }
}
