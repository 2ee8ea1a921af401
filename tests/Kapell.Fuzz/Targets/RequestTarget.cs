using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Fuzz.Inputs;
using Kapell.Raft;

namespace Kapell.Fuzz.Targets;

/// <summary>
/// Requests that change something, as bodies of protobuf: what can be parsed and passes the checks at the door goes through the log of a
/// member of its own and is applied. The first byte chooses the kind of command.
/// </summary>
internal sealed class RequestTarget : FuzzTarget, IReplicaWaiters
{
    private const int LifeMax = 3000;
    private static readonly CommandKind[] Kinds = [.. Enum.GetValues<CommandKind>().Where(static k => k is not (CommandKind.MemberAttributes or CommandKind.MemberUpdate or CommandKind.TokenGrant))];
    private Replica _replica;
    private ulong _requests;
    private int _life;

    public RequestTarget() : base("requests")
    {
        Prng prng = new(6);
        _replica = NewReplica();
        Corpus = [.. Kinds.SelectMany(k => Enumerable.Range(0, 4).Select(_ => (byte[])[(byte)Array.IndexOf(Kinds, k), .. Samples.Fill(TypeOf(k), prng).ToByteArray()]))];
    }

    public override IReadOnlyList<byte[]> Corpus { get; }

    public override bool Run(byte[] input)
    {
        if (++_life > LifeMax)
        {
            _replica.Dispose();
            (_replica, _life) = (NewReplica(), 0);
        }

        CommandKind kind = input.Length == 0 ? default : Kinds[input[0] % Kinds.Length];
        IMessage request;
        try
        {
            byte[] data = [.. new byte[8], (byte)kind, .. input.Skip(1)];
            request = Command.Decode(data).Request;
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or InvalidDataException)
        {
            return false;
        }

        if (Refused(request) is not null)
        {
            return true;
        }

        if (request is LeaseGrantRequest { ID: 0 } grant)
        {
            // The service chooses one.
            grant.ID = 1 + (int)(_requests % 50);
        }

        try
        {
            _replica.Raft.Propose(new Command(++_requests, kind, request).Encode());
            Turn();
            return true;
        }
        catch
        {
            _life = LifeMax;
            throw;
        }
    }

    public bool IsWaiting(ulong requestId) => true;

    public void Complete(ulong requestId, ApplyOutcome outcome)
    {
        // Refused or done: both are answers.
    }

    private static EtcdError? Refused(IMessage request) => request switch
    {
        RangeRequest r => RequestChecks.Range(r),
        PutRequest r => RequestChecks.Put(r),
        DeleteRangeRequest r => RequestChecks.DeleteRange(r),
        TxnRequest r => RequestChecks.Txn(r, 128),
        _ => null,
    };

    private static Google.Protobuf.Reflection.MessageDescriptor TypeOf(CommandKind kind) =>
        Command.Decode([.. new byte[8], (byte)kind]).Request.Descriptor;

    private Replica NewReplica()
    {
        RaftNode raft = new(new RaftConfig { Id = new MemberId(1), Prng = new Prng(1) }, new RaftStart());
        Etcd.Protocol.Member self = new() { ID = 1, Name = "one" };
        raft.Bootstrap([ConfChange.Of(ConfChangeKind.AddVoter, new MemberId(1), new MembershipContext(0, self).Encode())]);
        _replica = new Replica(raft, new Applier(new Mvcc.MvccStore(), leaseTtlSecondsMin: 2), clusterId: 9, default, quotaBytes: 0);
        Turn();
        raft.Campaign();
        Turn();
        return _replica;
    }

    private void Turn()
    {
        while (_replica.Raft.HasReady)
        {
            Ready ready = _replica.TakeReady();
            if (ready.NeedsPersist)
            {
                _replica.Raft.Persisted(ready.Number);
            }

            _replica.Apply(ready.Committed, this);
        }
    }
}
