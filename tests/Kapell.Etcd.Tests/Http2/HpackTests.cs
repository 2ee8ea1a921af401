using CsCheck;
using Kapell.Etcd.Server.Http2;
using Xunit;

namespace Kapell.Etcd.Tests.Http2;

public sealed class HpackTests
{
    /// <summary>The three requests of RFC 7541 appendix C.4, Huffman coded, on one connection.</summary>
    [Fact]
    public void The_requests_of_the_rfc_decode()
    {
        HpackDecoder decoder = new(4096, 65536);
        Assert.Equal(":method=GET :scheme=http :path=/ :authority=www.example.com", Decode(decoder, "828684418cf1e3c2e5f23a6ba0ab90f4ff"));
        Assert.Equal(
            ":method=GET :scheme=http :path=/ :authority=www.example.com cache-control=no-cache", Decode(decoder, "828684be5886a8eb10649cbf"));
        Assert.Equal(
            ":method=GET :scheme=https :path=/index.html :authority=www.example.com custom-key=custom-value",
            Decode(decoder, "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"));
    }

    /// <summary>The responses of appendix C.5, whose table is so small that fields are evicted.</summary>
    [Fact]
    public void Fields_leave_a_full_table()
    {
        HpackDecoder decoder = new(256, 65536);
        Assert.Equal(
            ":status=302 cache-control=private date=Mon, 21 Oct 2013 20:13:21 GMT location=https://www.example.com",
            Decode(decoder, "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d"));
        Assert.Equal(
            ":status=307 cache-control=private date=Mon, 21 Oct 2013 20:13:21 GMT location=https://www.example.com", Decode(decoder, "4803333037c1c0bf"));
    }

    [Theory]
    [InlineData("80")] // Index 0.
    [InlineData("ff80808080808001")] // A number without end.
    [InlineData("be")] // A field that the table does not have.
    [InlineData("40")] // A literal without a name.
    [InlineData("000a6162")] // Shorter than it says.
    [InlineData("3fffffffff7f")] // A table larger than allowed.
    [InlineData("823f01")] // A change of size after a field.
    [InlineData("0081ff01aa")] // Padding of eight ones and more.
    public void What_breaks_the_rules_is_refused(string hex) =>
        Assert.Throws<HpackException>(() => Decode(new HpackDecoder(4096, 65536), hex));

    [Fact]
    public void Headers_have_a_bound()
    {
        string big = "0001617f" + "811e" + string.Concat(Enumerable.Repeat("62", 127 + 0xf01));
        HpackDecoder decoder = new(4096, 1024);
        Assert.Throws<HpackException>(() => Decode(decoder, big));
    }

    [Fact]
    public void Any_bytes_decode_or_are_refused() => Gen.Byte.Array[0, 64].Sample(
        bytes =>
        {
            try
            {
                new HpackDecoder(4096, 65536).Decode(bytes, []);
            }
            catch (HpackException)
            {
            }
        },
        iter: 50_000);

    [Fact]
    public void A_block_that_comes_again_says_the_same_until_the_table_changes()
    {
        HpackBlocks blocks = new(new HpackDecoder(4096, 65536));
        Assert.Equal("key=1", Decode(blocks, "40036b65790131"));
        List<HpackHeader> first = blocks.Decode([0xbe]);
        Assert.Equal("key=1", Text(first));
        Assert.Same(first, blocks.Decode([0xbe]));
        Assert.Equal("key=2", Decode(blocks, "40036b65790132"));
        Assert.Equal("key=2", Decode(blocks, "be"));
        Assert.Equal("", Decode(blocks, "20"));
        Assert.Throws<HpackException>(() => Decode(blocks, "be"));
    }

    /// <summary>With and without memory of earlier blocks, whatever comes after whatever.</summary>
    [Fact]
    public void Remembered_blocks_say_what_decoded_ones_say()
    {
        string[] parts = ["82", "be", "bf", "c2", "be82", "40036b65790131", "40036b65790132", "7e0133", "000161" + "0162", "20", "3fe11f", "3f41", "80", "0061"];
        Gen.Int[0, parts.Length - 1].Array[1, 40].Sample(
            sequence =>
            {
                HpackDecoder plain = new(4096, 65536);
                HpackBlocks remembering = new(new HpackDecoder(4096, 65536));
                foreach (int part in sequence)
                {
                    string expected = Try(() => Decode(plain, parts[part]));
                    Assert.Equal(expected, Try(() => Decode(remembering, parts[part])));
                    if (expected == Refused)
                    {
                        return;
                    }
                }
            },
            iter: 20_000);
    }

    private const string Refused = "refused";

    private static string Try(Func<string> decode)
    {
        try
        {
            return decode();
        }
        catch (HpackException)
        {
            return Refused;
        }
    }

    private static string Decode(HpackBlocks blocks, string hex) => Text(blocks.Decode(Convert.FromHexString(hex)));

    private static string Text(List<HpackHeader> fields) => string.Join(' ', fields.Select(static f => $"{f.NameText}={f.ValueText}"));

    private static string Decode(HpackDecoder decoder, string hex)
    {
        List<HpackHeader> fields = [];
        decoder.Decode(Convert.FromHexString(hex), fields);
        return Text(fields);
    }
}
