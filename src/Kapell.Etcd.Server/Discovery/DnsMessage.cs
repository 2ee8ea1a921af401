using System.Buffers.Binary;
using System.Text;

namespace Kapell.Etcd.Server.Discovery;

/// <summary>One record of a service. RFC 2782</summary>
/// <param name="Target">Without the last dot.</param>
internal readonly record struct SrvRecord(int Priority, int Weight, int Port, string Target);

/// <summary>Questions and answers of DNS, as far as SRV needs. RFC 1035</summary>
internal static class DnsMessage
{
    private const int HeaderBytes = 12;
    private const int NameBytesMax = 255;
    private const int LabelBytesMax = 63;
    private const ushort TypeSrv = 33;
    private const ushort ClassInternet = 1;
    private const int JumpsMax = 32;

    /// <exception cref="FormatException">The name is none of DNS.</exception>
    public static byte[] Question(ushort id, string name)
    {
        List<byte> message = [(byte)(id >> 8), (byte)id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]; // Recursion is desired; one question.
        foreach (string label in name.TrimEnd('.').Split('.'))
        {
            byte[] bytes = Encoding.ASCII.GetBytes(label);
            if (bytes.Length is 0 or > LabelBytesMax)
            {
                throw new FormatException($"\"{name}\" is no domain name");
            }

            message.Add((byte)bytes.Length);
            message.AddRange(bytes);
        }

        message.Add(0);
        return message.Count - HeaderBytes <= NameBytesMax
            ? [.. message, 0, (byte)TypeSrv, 0, (byte)ClassInternet]
            : throw new FormatException($"\"{name}\" is no domain name");
    }

    /// <summary>Whether the server cut the answer off: ask again by TCP.</summary>
    public static bool IsTruncated(ReadOnlySpan<byte> message) => message.Length >= HeaderBytes && (message[2] & 2) != 0;

    /// <summary>Whether it is the answer to this question and not somebody else's.</summary>
    public static bool Answers(ReadOnlySpan<byte> message, ReadOnlySpan<byte> question) =>
        message.Length >= question.Length && message[..2].SequenceEqual(question[..2]) && (message[2] & 0x80) != 0
        && message[HeaderBytes..question.Length].SequenceEqual(question[HeaderBytes..]);

    /// <exception cref="FormatException">The message is broken.</exception>
    /// <exception cref="NoSuchNameException">There is no such name.</exception>
    /// <exception cref="FormatException">The server refuses, or what it says is no answer: another may know.</exception>
    public static IReadOnlyList<SrvRecord> ReadSrv(ReadOnlySpan<byte> message, string name)
    {
        int code = message[3] & 15;
        if (code != 0)
        {
            throw code == 3 ? new NoSuchNameException(name) : new FormatException($"server answered with code {code}");
        }

        int questions = BinaryPrimitives.ReadUInt16BigEndian(message[4..]);
        int answers = BinaryPrimitives.ReadUInt16BigEndian(message[6..]);
        int at = HeaderBytes;
        for (int i = 0; i < questions; i++)
        {
            ReadName(message, ref at);
            at += 4;
        }

        List<SrvRecord> records = [];
        for (int i = 0; i < answers; i++)
        {
            ReadName(message, ref at);
            ReadOnlySpan<byte> fixed_ = Slice(message, at, 10);
            int length = BinaryPrimitives.ReadUInt16BigEndian(fixed_[8..]);
            at += 10;
            if (BinaryPrimitives.ReadUInt16BigEndian(fixed_) == TypeSrv)
            {
                ReadOnlySpan<byte> data = Slice(message, at, Math.Max(length, 7));
                int target = at + 6;
                records.Add(new SrvRecord(
                    BinaryPrimitives.ReadUInt16BigEndian(data), BinaryPrimitives.ReadUInt16BigEndian(data[2..]),
                    BinaryPrimitives.ReadUInt16BigEndian(data[4..]), ReadName(message, ref target)));
            }

            at += length;
        }

        return records;
    }

    private static ReadOnlySpan<byte> Slice(ReadOnlySpan<byte> message, int at, int length) =>
        at >= 0 && length >= 0 && at + length <= message.Length ? message.Slice(at, length) : throw new FormatException("a DNS message that ends too early");

    private static string ReadName(ReadOnlySpan<byte> message, ref int at)
    {
        StringBuilder name = new();
        int position = at;
        bool jumped = false;
        for (int jumps = 0; jumps < JumpsMax;)
        {
            int length = Slice(message, position, 1)[0];
            if (length >= 0xC0)
            {
                int to = BinaryPrimitives.ReadUInt16BigEndian(Slice(message, position, 2)) & 0x3FFF;
                at = jumped ? at : position + 2;
                (position, jumped, jumps) = (to, true, jumps + 1);
                continue;
            }

            position++;
            if (length == 0)
            {
                at = jumped ? at : position;
                return name.ToString();
            }

            name.Append(name.Length > 0 ? "." : "").Append(Encoding.ASCII.GetString(Slice(message, position, length)));
            position += length;
            if (name.Length > NameBytesMax)
            {
                break;
            }
        }

        throw new FormatException("a DNS message with a name that does not end");
    }
}

/// <summary>A name server that should know says that there is no such name.</summary>
internal sealed class NoSuchNameException(string name) : IOException($"lookup {name}: no such host");
