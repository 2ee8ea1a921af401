using Google.Protobuf;
using Kapell.Etcd.Server.Proxies.Shared;

namespace Kapell.Etcd.Server.Proxies.KeepAlives;

/// <summary>The LeaseKeepAlive calls of a proxy.</summary>
/// <param name="upstreams">Where to.</param>
/// <param name="view">What is changed in messages to and from the member.</param>
/// <param name="requestBytesMax">What a member takes.</param>
internal sealed class SharedKeepAlives(Upstreams upstreams, MessageView view, int requestBytesMax, TimeProvider time)
    : SharedStreams<KeepAliveTrunk, KeepAliveBranch>(upstreams, view, requestBytesMax, time)
{
    public const string Method = "/etcdserverpb.Lease/LeaseKeepAlive";

    protected override KeepAliveTrunk Begin(Action<IMessage> ask) => new(ask);
}
