using Kapell.Etcd.Server.Discovery;
using Xunit;

namespace Kapell.Etcd.Tests.Discovery;

public sealed class DnsMessageTests
{
    private const string Name = "_etcd-server._tcp.example.com";

    // Header, question, and two answers whose names point back to the question; the second target ends in a pointer too.
    private static byte[] Answer(byte[] question)
    {
        List<byte> message = [.. question];
        message[2] = 0x81;
        message[3] = 0x80;
        message[7] = 2;
        byte[] first = [0, 1, 0, 20, 0x09, 0x4c, 2, (byte)'n', (byte)'1', 0];
        byte[] second = [0, 2, 0, 0, 0x09, 0x4d, 2, (byte)'n', (byte)'2', 0xc0, 12 + 13 + 5];
        foreach (byte[] data in new[] { first, second })
        {
            message.AddRange([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, (byte)data.Length]);
            message.AddRange(data);
        }

        return [.. message];
    }

    [Fact]
    public void Records_are_read_with_names_that_point_back()
    {
        byte[] question = DnsMessage.Question(0x1234, Name);
        byte[] answer = Answer(question);
        Assert.True(DnsMessage.Answers(answer, question));
        Assert.False(DnsMessage.IsTruncated(answer));
        Assert.Equal([new SrvRecord(1, 20, 2380, "n1"), new SrvRecord(2, 0, 2381, "n2.example.com")], DnsMessage.ReadSrv(answer, Name));
    }

    [Fact]
    public void An_answer_to_another_question_is_none()
    {
        byte[] answer = Answer(DnsMessage.Question(1, Name));
        Assert.False(DnsMessage.Answers(answer, DnsMessage.Question(2, Name)));
        Assert.False(DnsMessage.Answers(answer, DnsMessage.Question(1, "_etcd-client._tcp.example.com")));
    }

    [Fact]
    public void No_such_name_is_said()
    {
        byte[] answer = Answer(DnsMessage.Question(1, Name));
        answer[3] = 0x83;
        Assert.Contains("no such host", Assert.Throws<NoSuchNameException>(() => DnsMessage.ReadSrv(answer, Name)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Names_in_a_circle_and_messages_cut_anywhere_are_refused()
    {
        byte[] question = DnsMessage.Question(1, Name);
        byte[] circle = Answer(question);
        circle[question.Length + 1] = (byte)question.Length;
        Assert.Throws<FormatException>(() => DnsMessage.ReadSrv(circle, Name));
        byte[] whole = Answer(question);
        for (int length = question.Length; length < whole.Length; length++)
        {
            byte[] cut = whole[..length];
            Assert.Throws<FormatException>(() => DnsMessage.ReadSrv(cut, Name));
        }
    }

    [Theory]
    [InlineData("a..b")]
    [InlineData("")]
    public void What_is_no_name_is_refused(string name) => Assert.Throws<FormatException>(() => DnsMessage.Question(1, name));

    [Fact]
    public void Name_servers_are_those_of_the_file() => Assert.Equal(
        ["10.0.0.2:53", "[2001:db8::1]:53"],
        DnsClient.ServersOf(["# nameserver 10.0.0.1", "search example.com", "nameserver 10.0.0.2", "nameserver\t2001:db8::1"]).Select(static s => s.ToString()));
}
