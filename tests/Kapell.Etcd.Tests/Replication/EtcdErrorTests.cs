using Grpc.Core;
using Kapell.Etcd.Server.Replication;
using Xunit;

namespace Kapell.Etcd.Tests.Replication;

public sealed class EtcdErrorTests
{
    [Theory]
    [InlineData(null, StatusCode.Unavailable)]
    [InlineData("", StatusCode.Unavailable)]
    [InlineData("3", StatusCode.Unavailable)]
    [InlineData("3.4.23", StatusCode.Unavailable)]
    [InlineData("3.5.99", StatusCode.Unavailable)]
    [InlineData("3.six.0", StatusCode.Unavailable)]
    [InlineData("3.6.0-alpha.0", StatusCode.FailedPrecondition)]
    [InlineData("3.10.0", StatusCode.FailedPrecondition)]
    [InlineData("4.0.0", StatusCode.FailedPrecondition)]
    public void A_learner_refuses_with_the_code_that_the_client_knows(string? version, StatusCode code)
    {
        EtcdError refusal = EtcdError.NotSupportedForLearner(version);
        Assert.Equal(code, refusal.Code);
        Assert.Equal("etcdserver: rpc not supported for learner", refusal.Text);
    }
}
