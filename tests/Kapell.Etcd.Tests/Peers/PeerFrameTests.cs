using System.Buffers;
using CsCheck;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Peers;
using Kapell.Raft;
using Xunit;

namespace Kapell.Etcd.Tests.Peers;

public sealed class PeerFrameTests
{
    private static readonly Message[] Messages =
    [
        new Heartbeat(new MemberId(1), new MemberId(2), new Term(3), new LogIndex(4), 5),
        new AppendRequest(
            new MemberId(1), new MemberId(2), new Term(3), new LogPosition(new Term(2), new LogIndex(7)), new LogIndex(6),
            [new Entry(new LogIndex(8), new Term(3), EntryKind.Normal, new byte[300])]),
    ];

    /// <summary>However the bytes are cut on their way.</summary>
    [Fact]
    public void Messages_come_out_as_they_went_in() => Gen.Int[1, 40].Sample(size =>
    {
        ArrayBufferWriter<byte> wire = new();
        foreach (Message message in Messages)
        {
            PeerFrame.Write(wire, message);
        }

        List<Message> read = [];
        byte[] pending = [];
        foreach (byte[] piece in wire.WrittenSpan.ToArray().Chunk(size))
        {
            ReadOnlySequence<byte> buffer = new([.. pending, .. piece]);
            while (PeerFrame.TryRead(ref buffer, out Message? message, out _))
            {
                read.Add(message!);
            }

            pending = buffer.ToArray();
        }

        Assert.Empty(pending);
        Assert.Equal(Messages[0], read[0]);
        Assert.Equal(300, Assert.IsType<AppendRequest>(read[1]).Entries[0].Data.Length);
    });

    [Fact]
    public void Requests_to_renew_leases_and_their_answers_go_between_Rafts_messages()
    {
        LeasesRenewal request = new() { Number = 9, Ids = { 1, 0x7000_0000_0000_0001, -1 } };
        LeasesRenewed answer = new() { Number = 9, Ttls = { 60, 0, 5 } };
        ArrayBufferWriter<byte> wire = new();
        PeerFrame.Write(wire, request);
        PeerFrame.Write(wire, Messages[0]);
        PeerFrame.Write(wire, answer);

        ReadOnlySequence<byte> buffer = new(wire.WrittenMemory);
        Assert.True(PeerFrame.TryRead(ref buffer, out _, out IMessage? first));
        Assert.Equal(request, first);
        Assert.True(PeerFrame.TryRead(ref buffer, out Message? second, out IMessage? none));
        Assert.Equal((Messages[0], null), (second, none));
        Assert.True(PeerFrame.TryRead(ref buffer, out _, out IMessage? third));
        Assert.Equal(answer, third);
        Assert.True(buffer.IsEmpty);
    }

    [Fact]
    public void A_request_for_more_leases_than_one_may_be_for_is_refused_before_it_is_read()
    {
        ArrayBufferWriter<byte> wire = new();
        PeerFrame.Write(wire, new LeasesRenewal { Ids = { Enumerable.Repeat(-1L, ForwardedRenewals.Most * 2) } });
        ReadOnlySequence<byte> buffer = new(wire.WrittenMemory);
        Assert.Throws<InvalidDataException>(() => PeerFrame.TryRead(ref buffer, out _, out _));
    }

    [Fact]
    public void A_damaged_frame_is_no_message()
    {
        ArrayBufferWriter<byte> wire = new();
        PeerFrame.Write(wire, Messages[1]);
        for (int i = 4; i < wire.WrittenCount; i++)
        {
            byte[] bytes = wire.WrittenSpan.ToArray();
            bytes[i] ^= 0x40;
            ReadOnlySequence<byte> buffer = new(bytes);
            Assert.Throws<InvalidDataException>(() => PeerFrame.TryRead(ref buffer, out _, out _));
        }
    }

    [Theory]
    [InlineData("ffffffff00000000")]
    [InlineData("0000000000000000")]
    [InlineData("ffffff7f00000000")]
    public void A_length_out_of_bounds_is_refused(string hex)
    {
        ReadOnlySequence<byte> buffer = new(Convert.FromHexString(hex));
        Assert.Throws<InvalidDataException>(() => PeerFrame.TryRead(ref buffer, out _, out _));
    }
}
