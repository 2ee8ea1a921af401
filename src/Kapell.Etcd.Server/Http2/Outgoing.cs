namespace Kapell.Etcd.Server.Http2;

/// <summary>A message that waits to be sent, and the trailers after it.</summary>
internal sealed class Outgoing(ReadOnlyMemory<byte> data, ReadOnlyMemory<byte> trailers, Lent owner, bool ends)
{
    public ReadOnlyMemory<byte> Remaining { get; set; } = data;

    public ReadOnlyMemory<byte> Trailers => trailers;

    /// <summary>The stream ends with this, with trailers or without.</summary>
    public bool Ends => ends;

    /// <summary>The last piece of data has said so already.</summary>
    public bool IsEnded { get; set; }

    /// <summary>Gets the data back when all is sent.</summary>
    public Lent Owner => owner;
}
