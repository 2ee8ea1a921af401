using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Proxies.Shared;

namespace Kapell.Etcd.Server.Proxies.Watches;

/// <summary>The Watch calls of a proxy: clients that watch the same share one watch, too.</summary>
/// <param name="upstreams">Where to.</param>
/// <param name="view">What is changed in messages to and from the member.</param>
/// <param name="requestBytesMax">What a member takes.</param>
internal sealed class SharedWatches(Upstreams upstreams, MessageView view, int requestBytesMax, TimeProvider time)
    : SharedStreams<WatchTrunk, WatchBranch>(upstreams, view, requestBytesMax, time)
{
    private long _sparedBefore; // On streams that have ended.

    /// <summary>Watches of clients that live on another's watch, and event responses that the members did not have to send.</summary>
    public (long Watches, long Responses) Spared
    {
        get
        {
            lock (Gate)
            {
                return (Trunks.Sum(static t => t.Receivers - t.Feeds), _sparedBefore + Trunks.Sum(static t => t.Spared));
            }
        }
    }

    protected override WatchTrunk Begin(Action<IMessage> ask) => new(ask);

    protected override void Ended(WatchTrunk trunk) => _sparedBefore += trunk.Spared;
}
