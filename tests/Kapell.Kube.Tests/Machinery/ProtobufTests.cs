using System.Text;
using System.Text.Json.Nodes;
using CsCheck;
using Kapell.ApiServer.OpenApi;
using Kapell.Machinery;
using Kapell.Machinery.Protobuf;
using Kapell.Machinery.Schemas;
using Xunit;

namespace Kapell.Kube.Tests.Machinery;

public sealed class ProtobufTests
{
    [Fact]
    public void A_pod_reads_as_go_would_show_it()
    {
        byte[] container = [.. Text(1, "web"), .. Text(2, "nginx"), .. Bytes(8, []), .. Text(14, ""), .. Number(16, 0),
            .. Bytes(6, [.. Text(1, ""), .. Number(2, 0), .. Number(3, 80), .. Text(4, "")])];
        byte[] volume = [.. Text(1, "scratch"), .. Bytes(2, Bytes(2, []))];
        byte[] spec = [.. Bytes(1, volume), .. Bytes(2, container), .. Number(4, 0), .. Number(11, 1), .. Number(12, 0), .. Text(10, "")];
        byte[] meta = [.. Text(1, "a"), .. Bytes(11, [.. Text(1, "k"), .. Text(2, "v")]), .. Number(7, 0), .. Bytes(8, [])];
        Assert.Equal(
            """{"kind":"Pod","apiVersion":"v1","metadata":{"labels":{"k":"v"},"name":"a"},"spec":{"containers":[{"image":"nginx","name":"web","ports":[{"containerPort":80}],"resources":{}}],"hostNetwork":true,"terminationGracePeriodSeconds":0,"volumes":[{"emptyDir":{},"name":"scratch"}]},"status":{}}""",
            Decode("v1", "Pod", [.. Bytes(1, meta), .. Bytes(2, spec), .. Bytes(3, [])]));
    }

    [Fact]
    public void Times_quantities_and_either_or_values_have_their_text()
    {
        byte[] lease = Bytes(2, [.. Text(1, "me"), .. Number(2, 15), .. Bytes(4, [.. Number(1, 1_700_000_000), .. Number(2, 123_456_000)])]);
        Assert.Contains("\"renewTime\":\"2023-11-14T22:13:20.123456Z\"", Decode("coordination.k8s.io/v1", "Lease", lease), StringComparison.Ordinal);
        byte[] budget = Bytes(2, Bytes(1, [.. Number(1, 1), .. Number(2, 0), .. Text(3, "50%")]));
        Assert.Contains("\"minAvailable\":\"50%\"", Decode("policy/v1", "PodDisruptionBudget", budget), StringComparison.Ordinal);
        byte[] limits = Bytes(2, Bytes(2, Bytes(8, Bytes(1, [.. Text(1, "cpu"), .. Bytes(2, Text(1, "250m"))]))));
        Assert.Contains("\"limits\":{\"cpu\":\"250m\"}", Decode("v1", "Pod", limits), StringComparison.Ordinal);
    }

    [Fact]
    public void A_message_in_pieces_is_their_sum_and_a_plain_field_the_last_one()
    {
        byte[] pieces = [.. Bytes(1, Text(1, "first")), .. Bytes(1, Text(3, "space")), .. Bytes(1, Text(1, "last"))];
        Assert.Equal("""{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"last","namespace":"space"}}""", Decode("v1", "ConfigMap", pieces));
    }

    [Fact]
    public void Delete_options_are_known_by_every_group() =>
        Assert.Contains("\"gracePeriodSeconds\":0", Decode("apps/v1", "DeleteOptions", Number(1, 0)), StringComparison.Ordinal);

    [Theory]
    [InlineData("", "empty data")]
    [InlineData("7b7d", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    [InlineData("6b3873001280", "unexpected EOF")]
    [InlineData("6b387300ffffffffffffffffffffff", "proto: integer overflow")]
    [InlineData("6b387300120b", "unexpected EOF")]
    [InlineData("6b38730013", "proto: illegal wireType 3")]
    [InlineData("6b38730002", "proto: illegal tag 0 (wire type 2)")]
    public void What_is_no_message_is_refused(string hex, string why) =>
        Assert.Equal(why, Assert.Throws<WireFormatException>(() => ProtobufDecoder.ToJson(Convert.FromHexString(hex), Find)).Message);

    [Fact]
    public void Text_that_is_no_utf8_a_wrong_wire_type_and_bad_json_are_refused()
    {
        Assert.Throws<WireFormatException>(() => Decode("v1", "ConfigMap", Bytes(1, Bytes(1, [0xff]))));
        Assert.Throws<WireFormatException>(() => Decode("v1", "ConfigMap", Number(1, 1)));
        Assert.Throws<WireFormatException>(() => Decode("apps/v1", "ControllerRevision", Bytes(2, Bytes(1, "{\"a\":"u8.ToArray()))));
        Assert.Throws<WireFormatException>(() => Decode("example.com/v1", "Unknown", []));
    }

    [Fact]
    public void Nesting_without_end_is_refused()
    {
        // JSON inside raw extensions is the only type that nests at will.
        byte[] deep = Encoding.UTF8.GetBytes(new string('[', 100_000));
        Assert.Throws<WireFormatException>(() => Decode("apps/v1", "ControllerRevision", Bytes(2, Bytes(1, deep))));
    }

    [Fact]
    public void Any_bytes_are_either_json_or_refused() => Gen.Byte.Array[0, 200].Sample(
        bytes =>
        {
            try
            {
                JsonNode.Parse(Decode("v1", "Pod", bytes));
            }
            catch (WireFormatException)
            {
            }
        },
        iter: 20_000);

    private static TypeSchema? Find(string apiVersion, string kind) => kind == "DeleteOptions"
        ? BuiltinSchemas.Set.Get("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        : BuiltinSchemas.Set.Find(GroupVersionKind.Of(apiVersion, kind));

    private static string Decode(string apiVersion, string kind, byte[] message) => Encoding.UTF8.GetString(ProtobufDecoder.ToJson(
        (byte[])[.. "k8s\0"u8, .. Bytes(1, [.. Text(1, apiVersion), .. Text(2, kind)]), .. Bytes(2, message)], Find));

    private static byte[] Text(int field, string value) => Bytes(field, Encoding.UTF8.GetBytes(value));

    private static byte[] Bytes(int field, byte[] value) => [.. Varint(((ulong)field << 3) | 2), .. Varint((ulong)value.Length), .. value];

    private static byte[] Number(int field, long value) => [.. Varint((ulong)field << 3), .. Varint((ulong)value)];

    private static byte[] Varint(ulong value)
    {
        List<byte> bytes = [];
        for (; value >= 0x80; value >>= 7)
        {
            bytes.Add((byte)(value | 0x80));
        }

        bytes.Add((byte)value);
        return [.. bytes];
    }
}
