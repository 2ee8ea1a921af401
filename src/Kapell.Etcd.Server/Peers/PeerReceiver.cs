using System.Buffers;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Peers;

/// <summary>What comes on the streams of other members, and where it goes.</summary>
internal sealed class PeerReceiver(ReplicaHost host, PeerTransport transport, LeaderCalls calls)
{
    /// <summary>Takes every message that is there; false when the host is full, and the rest is to be taken later.</summary>
    /// <exception cref="InvalidDataException">No message, or none that this member may send.</exception>
    public bool TakeAll(ref ReadOnlySequence<byte> buffer, MemberId from)
    {
        bool batch = WorkBatch.TryBegin();
        try
        {
            while (!host.IsFull)
            {
                if (!PeerFrame.TryRead(ref buffer, out Message? message, out IMessage? other))
                {
                    return true;
                }

                if (message is not null)
                {
                    Take(message, from);
                }
                else if (other is LeasesRenewal request)
                {
                    if (request.Ids.Count > ForwardedRenewals.Most)
                    {
                        throw new InvalidDataException($"a request for {request.Ids.Count} leases");
                    }

                    // What goes wrong in it goes wrong again when it is asked for by a request of HTTP, which says so.
                    _ = AnswerAsync(request, from);
                }
                else
                {
                    calls.Answered(from, (LeasesRenewed)other!);
                }
            }

            return false;
        }
        finally
        {
            if (batch)
            {
                WorkBatch.End();
            }
        }
    }

    internal static bool IsCommand(ProposedEntry entry)
    {
        try
        {
            return entry.Kind == EntryKind.ConfChange ? ConfChange.TryDecode(entry.Data, out _) : Command.Decode(entry.Data.Span).Request is not null;
        }
        catch (InvalidDataException)
        {
            return false;
        }
    }

    private void Take(Message message, MemberId from)
    {
        if (message.From != from)
        {
            throw new InvalidDataException($"a message in the name of {message.From}");
        }

        if (message is ForwardedProposal proposal && !proposal.Entries.All(IsCommand))
        {
            // In the log it would stop every member that comes to it, at every start.
            throw new InvalidDataException("a proposal that is no command");
        }

        host.Received(message);
    }

    private async Task AnswerAsync(LeasesRenewal request, MemberId from)
    {
        (EtcdError? error, LeasesRenewed? reply) = await calls.RenewHereAsync(request, CancellationToken.None);
        reply ??= new LeasesRenewed { Error = error!.Text };
        reply.Number = request.Number;
        transport.Answer(from, reply);
    }
}
