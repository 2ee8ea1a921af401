using System.Buffers;
using Kapell.Etcd.Server.Http2;
using Kapell.Fuzz.Inputs;

namespace Kapell.Fuzz.Targets;

/// <summary>Header blocks, several of one connection after another: an input is cut into blocks by its first bytes.</summary>
internal sealed class HpackTarget : FuzzTarget
{
    public HpackTarget() : base("hpack") => Corpus = [.. Enumerable.Range(1, 6).Select(Block)];

    public override IReadOnlyList<byte[]> Corpus { get; }

    public override bool Run(byte[] input)
    {
        HpackDecoder decoder = new(4096, 64 * 1024);
        int at = 0;
        try
        {
            while (at < input.Length)
            {
                int length = Math.Min(input[at++] * 2, input.Length - at);
                decoder.Decode(input.AsSpan(at, length), []);
                at += length;
            }

            return true;
        }
        catch (HpackException)
        {
            return false;
        }
    }

    private static byte[] Block(int blocks)
    {
        List<byte> all = [];
        for (int i = 0; i < blocks; i++)
        {
            ArrayBufferWriter<byte> block = new();
            HpackWriter.Status(block, 200);
            HpackWriter.Write(block, "content-type", "application/grpc");
            byte[] literal = [0x40, 3, (byte)'k', (byte)'e', (byte)('a' + i), 4, 1, 2, 3, 4, 0x82, 0x86, 0x44, 0x83, 0x61, 0x25, 0x4f];
            byte[] bytes = [.. block.WrittenSpan, .. literal];
            bytes = bytes.Length % 2 == 0 ? bytes : [.. bytes, 0x84];
            all.AddRange([(byte)(bytes.Length / 2), .. bytes]);
        }

        return [.. all];
    }
}
