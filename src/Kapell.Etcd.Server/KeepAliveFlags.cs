using Kapell.Base;
using Kapell.Etcd.Server.Http2;

namespace Kapell.Etcd.Server;

/// <summary>When a port asks silent clients whether they are there: flags of a member and of the proxy. etcd: etcdmain/config.go, grpc_proxy.go</summary>
internal sealed class KeepAliveFlags(FlagSet flags)
{
    private readonly FlagValue<TimeSpan> _interval = flags.Duration(
        "grpc-keepalive-interval", TimeSpan.FromHours(2), "A client that has said nothing for so long is asked whether it is there (0 to disable, at least 1s).");

    private readonly FlagValue<TimeSpan> _timeout = flags.Duration(
        "grpc-keepalive-timeout", TimeSpan.FromSeconds(20), "The connection of one that does not answer for so long is closed (0 to disable).");

    public KeepAlivePolicy? Policy => KeepAlivePolicy.Of(_interval.Value, _timeout.Value);
}
