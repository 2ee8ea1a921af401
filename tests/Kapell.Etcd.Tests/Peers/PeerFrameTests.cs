using System.Buffers;
using CsCheck;
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
            while (PeerFrame.TryRead(ref buffer, out Message? message))
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
    public void A_damaged_frame_is_no_message()
    {
        ArrayBufferWriter<byte> wire = new();
        PeerFrame.Write(wire, Messages[1]);
        for (int i = 4; i < wire.WrittenCount; i++)
        {
            byte[] bytes = wire.WrittenSpan.ToArray();
            bytes[i] ^= 0x40;
            ReadOnlySequence<byte> buffer = new(bytes);
            Assert.Throws<InvalidDataException>(() => PeerFrame.TryRead(ref buffer, out _));
        }
    }

    [Theory]
    [InlineData("ffffffff00000000")]
    [InlineData("0000000000000000")]
    [InlineData("ffffff7f00000000")]
    public void A_length_out_of_bounds_is_refused(string hex)
    {
        ReadOnlySequence<byte> buffer = new(Convert.FromHexString(hex));
        Assert.Throws<InvalidDataException>(() => PeerFrame.TryRead(ref buffer, out _));
    }
}
