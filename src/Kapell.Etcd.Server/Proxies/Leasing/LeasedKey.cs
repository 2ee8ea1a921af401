using Google.Protobuf;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Proxies.Leasing;

/// <summary>A key that this proxy alone may write, or is about to be: what it holds is read here.</summary>
internal sealed class LeasedKey(ByteString key)
{
    public ByteString Key => key;

    /// <summary>The revision that made the leasing key; 0 until then. One that was made later is another's.</summary>
    public long Since { get; set; }

    /// <summary>The key as it is, or that it is not there; null until it is known.</summary>
    public RangeResponse? Answer { get; set; }

    /// <summary>Not null: one call asks or changes it, and the others wait.</summary>
    public TaskCompletionSource? Busy { get; set; }
}
