using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Proxies.Shared;

namespace Kapell.Etcd.Server.Proxies.KeepAlives;

/// <summary>
/// The keep-alives of many clients. A member answers a stream in the order in which it is asked. Those of one lease that wait to be sent are
/// sent once; one that is sent already is joined by nobody, for the lease may have been renewed, and have ended, before the later one was
/// asked for. etcd: server/proxy/grpcproxy/lease.go
/// </summary>
/// <param name="ask">Sends to the member, in this order.</param>
internal sealed class KeepAliveTrunk(Action<IMessage> ask) : ITrunk<KeepAliveBranch>
{
    private readonly Dictionary<long, Renewal> _waiting = []; // By lease; not sent yet.
    private readonly Queue<Renewal> _asked = new(); // All that is not answered.

    public void Take(KeepAliveBranch branch, byte[] request)
    {
        LeaseKeepAliveRequest asked = LeaseKeepAliveRequest.Parser.ParseFrom(request);
        branch.Asked();
        if (!_waiting.TryGetValue(asked.ID, out Renewal? renewal))
        {
            _waiting.Add(asked.ID, renewal = new Renewal(asked.ID));
            _asked.Enqueue(renewal);
            ask(asked);
        }

        renewal.Branches.Add(branch);
    }

    public void AskedAll(KeepAliveBranch branch) => branch.AskedAll();

    public void Sends(IMessage request) => _waiting.Remove(((LeaseKeepAliveRequest)request).ID);

    public void Received(byte[] response)
    {
        LeaseKeepAliveResponse answer = LeaseKeepAliveResponse.Parser.ParseFrom(response);
        if (!_asked.TryPeek(out Renewal? renewal) || renewal.Lease != answer.ID || _waiting.GetValueOrDefault(renewal.Lease) == renewal)
        {
            throw new InvalidDataException($"a member answered for lease {answer.ID:x}, of which it was not asked");
        }

        _asked.Dequeue();
        foreach (KeepAliveBranch branch in renewal.Branches)
        {
            branch.Give(answer, response.Length);
            branch.Answered();
        }
    }

    /// <summary>What it asked for is carried out all the same; nobody may wait for it any more.</summary>
    public void Leave(KeepAliveBranch branch)
    {
        foreach (Renewal renewal in _asked)
        {
            renewal.Branches.RemoveAll(b => b == branch);
        }
    }

    /// <summary>One request to the member.</summary>
    private sealed class Renewal(long lease)
    {
        public long Lease => lease;

        /// <summary>As often as each has asked.</summary>
        public List<KeepAliveBranch> Branches { get; } = [];
    }
}
