using Google.Protobuf;

namespace Kapell.Etcd.Server.Proxies.Shared;

/// <summary>
/// The calls of many clients on one stream to a member, without the stream: requests of clients and responses of the member come in, what
/// either side must hear goes out. Not safe for concurrent use.
/// </summary>
/// <typeparam name="TBranch">One client's stream.</typeparam>
internal interface ITrunk<TBranch>
    where TBranch : Branch
{
    /// <summary>A client asks.</summary>
    /// <exception cref="InvalidProtocolBufferException">It is no request.</exception>
    void Take(TBranch branch, byte[] request);

    /// <summary>A client has asked all it wanted, and listens on.</summary>
    void AskedAll(TBranch branch);

    /// <summary>What was asked of the member is sent now, and can be changed no more.</summary>
    void Sends(IMessage request);

    /// <summary>The member says something.</summary>
    /// <exception cref="InvalidDataException">It is no answer to anything.</exception>
    void Received(byte[] response);

    /// <summary>A client has gone.</summary>
    void Leave(TBranch branch);
}
