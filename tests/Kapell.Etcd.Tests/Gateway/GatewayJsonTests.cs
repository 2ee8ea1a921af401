using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Http.Gateway;
using Xunit;

namespace Kapell.Etcd.Tests.Gateway;

public sealed class GatewayJsonTests
{
    [Theory]
    [InlineData("{\"ID\":3860041835534769534,\"TTL\":2}", 3860041835534769534)]
    [InlineData("{\"ID\":\"3860041835534769534\",\"TTL\":\"2\"}", 3860041835534769534)]
    [InlineData("{\"ID\":-9223372036854775808,\"TTL\":2}", long.MinValue)]
    [InlineData("{\"ID\":7,\"TTL\":2}", 7)]
    public void A_whole_number_keeps_all_its_bits(string json, long id)
    {
        LeaseGrantRequest request = (LeaseGrantRequest)GatewayJson.Read(json, LeaseGrantRequest.Descriptor);
        Assert.Equal((id, 2), (request.ID, request.TTL));
    }

    [Fact]
    public void Strings_beside_a_large_number_stay_as_they_are()
    {
        PutRequest request = (PutRequest)GatewayJson.Read("{\"key\":\"Zm9v\",\"value\":\"w6Q=\",\"lease\":5081664994040617731,\"prev_kv\":true}", PutRequest.Descriptor);
        Assert.Equal(("foo", "ä", 5081664994040617731, true), (request.Key.ToStringUtf8(), request.Value.ToStringUtf8(), request.Lease, request.PrevKv));
    }
}
