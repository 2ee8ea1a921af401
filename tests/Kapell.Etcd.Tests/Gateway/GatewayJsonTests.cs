using System.Text;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Http.Gateway;
using Xunit;

namespace Kapell.Etcd.Tests.Gateway;

/// <summary>What etcd 3.6 takes and refuses, and in which words; tried against it.</summary>
public sealed class GatewayJsonTests
{
    [Theory]
    [InlineData("3860041835534769534", 3860041835534769534)]
    [InlineData("\"3860041835534769534\"", 3860041835534769534)]
    [InlineData("-9223372036854775808", long.MinValue)]
    [InlineData("9223372036854775807", long.MaxValue)]
    [InlineData("7", 7)]
    [InlineData("7.0", 7)]
    [InlineData("1e2", 100)]
    [InlineData("\"1.50E+1\"", 15)]
    [InlineData("0.05e2", 5)]
    [InlineData("1000e-1", 100)]
    [InlineData("-0", 0)]
    [InlineData("0e99999", 0)]
    [InlineData("null", 0)]
    public void A_whole_number_is_taken_as_it_is_written(string json, long id) => Assert.Equal(id, Read<LeaseGrantRequest>($"{{\"ID\":{json},\"TTL\":2}}").ID);

    [Theory]
    [InlineData("9223372036854775808")]
    [InlineData("-9223372036854775809")]
    [InlineData("1.5")]
    [InlineData("5e-1")]
    [InlineData("1e20")]
    [InlineData("1e999999999999")]
    [InlineData("\"\"")]
    [InlineData("\" 1\"")]
    [InlineData("\"1 \"")]
    [InlineData("\"01\"")]
    [InlineData("\"+1\"")]
    [InlineData("\"1.\"")]
    [InlineData("\"1e\"")]
    [InlineData("\"0x1\"")]
    [InlineData("true")]
    [InlineData("[1]", "[")]
    [InlineData("{}", "{")]
    public void What_is_no_whole_number_is_refused(string json, string? shown = null) =>
        Assert.Equal($"proto: (line 1:7): invalid value for int64 field ID: {shown ?? json}", Refusal(LeaseGrantRequest.Descriptor, $"{{\"ID\":{json}}}"));

    [Theory]
    [InlineData("YWI=", "ab")]
    [InlineData("YWI", "ab")]
    [InlineData("YQ==", "a")]
    [InlineData("YR", "a")]
    [InlineData("P_8-Pz8", "?\uFFFD>??")]
    [InlineData("P/8+Pz8=", "?\uFFFD>??")]
    [InlineData("YW\\nIx\\r\\nYQ==", null)]
    [InlineData("YWJj\\n\\n\\n\\n", "abc")]
    [InlineData("\\u0059Q==", "a")]
    [InlineData("", "")]
    [InlineData("Y", null)]
    [InlineData("=", null)]
    [InlineData("YQ=", null)]
    [InlineData("YQ===", null)]
    [InlineData("Y Q==", null)]
    [InlineData("a-/b", null)]
    [InlineData("YQ==YQ==", null)]
    public void Bytes_come_in_either_alphabet_padded_or_not(string text, string? value)
    {
        string json = $"{{\"key\":\"{text}\"}}";
        if (value is null)
        {
            Assert.Equal($"proto: (line 1:8): invalid value for bytes field key: \"{text}\"", Refusal(PutRequest.Descriptor, json));
        }
        else
        {
            Assert.Equal(value, Read<PutRequest>(json).Key.ToStringUtf8());
        }
    }

    [Fact]
    public void Fields_have_two_names_and_what_is_unknown_or_null_is_passed_over()
    {
        RangeRequest request = Read<RangeRequest>(
            " {\"key\":\"Zm9v\",\"rangeEnd\":\"ZnA\",\"sort_order\":\"DESCEND\",\"sortTarget\":3,\"limit\":null,\"x\":[{\"y\":[1]}],\"[a.b]\":1,\"Key\":7,\"keys_only\":true} ");
        Assert.Equal(
            ("foo", "fp", RangeRequest.Types.SortOrder.Descend, RangeRequest.Types.SortTarget.Mod, 0, true),
            (request.Key.ToStringUtf8(), request.RangeEnd.ToStringUtf8(), request.SortOrder, request.SortTarget, request.Limit, request.KeysOnly));
        Assert.Equal(RangeRequest.Types.SortOrder.None, Read<RangeRequest>("{\"sort_order\":\"SIDEWAYS\"}").SortOrder);
        Assert.Equal(99, (int)Read<RangeRequest>("{\"sort_order\":99}").SortOrder);
        WatchRequest watch = Read<WatchRequest>("{\"create_request\":{\"filters\":[\"NODELETE\",\"UNKNOWN\",0]}}");
        Assert.Equal([WatchCreateRequest.Types.FilterType.Nodelete, WatchCreateRequest.Types.FilterType.Noput], watch.CreateRequest.Filters);
    }

    [Theory]
    [InlineData("{\"success\":[{\"request_put\":{},\"requestRange\":{}}]}", "(line 1:31): error parsing \"requestRange\", oneof etcdserverpb.RequestOp.request is already set")]
    [InlineData("{\"success\":[{\"request_put\":{},\"requestPut\":{}}]}", "(line 1:31): duplicate field \"requestPut\"")]
    [InlineData("{\"success\":[],\n\n \"ä\":1, \"success\":null}", "(line 3:9): duplicate field \"success\"")]
    [InlineData("{\"success\":[null]}", "syntax error (line 1:13): unexpected token null")]
    [InlineData("{\"success\":{}}", "syntax error (line 1:12): unexpected token {")]
    [InlineData("{\"success\":[[]]}", "syntax error (line 1:13): unexpected token [")]
    [InlineData("\"a\"", "syntax error (line 1:1): unexpected token \"a\"")]
    [InlineData("{\"\\ud800\":1}", "syntax error (line 1:2): invalid escape code in string \"\\ud800\"")]
    public void What_does_not_fit_is_refused_with_its_place(string json, string words) => Assert.Equal("proto: " + words, Refusal(TxnRequest.Descriptor, json));

    [Theory]
    [InlineData("{", "unexpected EOF")]
    [InlineData("{\"key\":nul", "unexpected EOF")]
    [InlineData("{\"key\":}", "invalid character '}' looking for beginning of value")]
    [InlineData("{'key':1}", "invalid character '\\'' looking for beginning of object key string")]
    [InlineData("{\"key\":\"\",}", "invalid character '}' looking for beginning of object key string")]
    [InlineData("{\"lease\":01}", "invalid character '1' after object key:value pair")]
    [InlineData("nonsense", "invalid character 'o' in literal null (expecting 'u')")]
    public void What_is_no_JSON_is_refused_in_the_words_of_Go(string json, string words) => Assert.Equal(words, Refusal(PutRequest.Descriptor, json));

    [Fact]
    public void Transactions_in_one_another_have_a_bound()
    {
        static string Nested(int count) => string.Concat(Enumerable.Repeat("{\"success\":[{\"requestTxn\":", count)) + "{}" + string.Concat(Enumerable.Repeat("}]}", count));
        Assert.Single(Read<TxnRequest>(Nested(49)).Success);
        Assert.Equal("proto: exceeded max recursion depth", Refusal(TxnRequest.Descriptor, Nested(50)));
        Assert.NotEmpty(Refusal(TxnRequest.Descriptor, new string('[', 100_000)));
        Assert.NotNull(Read<TxnRequest>("{\"x\":" + new string('[', 9_000) + new string(']', 9_000) + "}"));
    }

    private static T Read<T>(string json) where T : Google.Protobuf.IMessage<T>, new() => (T)GatewayJson.Read(Encoding.UTF8.GetBytes(json), new T().Descriptor);

    private static string Refusal(MessageDescriptor type, string json)
    {
        RpcException refusal = Assert.Throws<RpcException>(() => GatewayJson.Read(Encoding.UTF8.GetBytes(json), type));
        Assert.Equal(StatusCode.InvalidArgument, refusal.StatusCode);
        return refusal.Status.Detail;
    }
}
