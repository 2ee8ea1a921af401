using System.Buffers;
using System.Buffers.Binary;
using Kapell.Base;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Fuzz.Inputs;
using Kapell.Raft;
using Kapell.Raft.Encoding;
using Kapell.Storage;

namespace Kapell.Fuzz.Targets;

/// <summary>
/// The stream between members: frames, messages in them, and what the machine does with those of a fellow member of three. An input is
/// a list of bodies, each behind its length; their frames are made here, so that the checksums are right, except in one input of eight.
/// </summary>
internal sealed class PeerTarget : FuzzTarget
{
    public PeerTarget() : base("peer-messages")
    {
        Message[] all = Messages();
        Corpus = [.. all.Where(static m => m is not Heartbeat).Select(m => Join([m])), Join(all), Join([all[0], all[2], all[3], all[4]]), Join(Renewals())];
    }

    public override IReadOnlyList<byte[]> Corpus { get; }

    public override bool Run(byte[] input)
    {
        ArrayBufferWriter<byte> stream = new();
        bool whole = input.Length > 0 && (input[^1] & 7) != 0;
        for (int at = 0; at + 2 <= input.Length;)
        {
            int length = Math.Min(BinaryPrimitives.ReadUInt16LittleEndian(input.AsSpan(at)), input.Length - at - 2);
            ReadOnlySpan<byte> body = input.AsSpan(at + 2, length);
            BinaryPrimitives.WriteInt32LittleEndian(stream.GetSpan(8), length);
            BinaryPrimitives.WriteUInt32LittleEndian(stream.GetSpan(8)[4..], whole ? Crc32C.Compute(body) : (uint)length);
            stream.Advance(8);
            stream.Write(body);
            at += 2 + length;
        }

        using Fellow fellow = new();
        ReadOnlySequence<byte> buffer = new(stream.WrittenMemory);
        try
        {
            while (PeerFrame.TryRead(ref buffer, out Message? message, out _))
            {
                if (message is not null)
                {
                    fellow.Take(message);
                }
            }

            return true;
        }
        catch (InvalidDataException)
        {
            return false;
        }
        catch (InvariantBrokenException e) when (e.Message.Contains("it has lost acknowledged entries", StringComparison.Ordinal))
        {
            // A fellow member says that more was committed than is here: stopping is right (etcd does too).
            return false;
        }
    }

    private static byte[] Join(Message[] messages) => Join(messages.Select(RaftCodec.Encode));

    private static byte[] Join(IEnumerable<byte[]> bodies) => [.. bodies.SelectMany(static body => (byte[])[(byte)body.Length, (byte)(body.Length >> 8), .. body]), 1];

    // What has nothing to do with Raft goes between its messages.
    private static IEnumerable<byte[]> Renewals()
    {
        ArrayBufferWriter<byte> asked = new();
        PeerFrame.Write(asked, new Etcd.Protocol.LeasesRenewal { Number = 7, Ids = { 1, 2, long.MaxValue } });
        ArrayBufferWriter<byte> refused = new();
        PeerFrame.Write(refused, new Etcd.Protocol.LeasesRenewed { Number = 7, Ttls = { 60, 0 }, Error = "etcdserver: not leader" });
        return [asked.WrittenSpan[PeerFrame.HeadBytes..].ToArray(), refused.WrittenSpan[PeerFrame.HeadBytes..].ToArray()];
    }

    private static Message[] Messages()
    {
        (MemberId from, MemberId to, Term term) = (new MemberId(2), new MemberId(1), new Term(2));
        LogPosition three = new(new Term(1), new LogIndex(3));
        byte[] put = new Command(7, CommandKind.Put, new Etcd.Protocol.PutRequest { Key = Google.Protobuf.ByteString.CopyFromUtf8("a") }).Encode();
        Entry[] entries = [new(new LogIndex(4), term, EntryKind.Normal, put), new(new LogIndex(5), term, EntryKind.Normal, put)];
        ConfState conf = new() { Voters = [new MemberId(1), from, new MemberId(3)] };
        return
        [
            new VoteRequest(from, to, term, three, false, false), new VoteRequest(from, to, term, three, true, false), new AppendRequest(from, to, term, three, new LogIndex(3), entries),
            new AppendRequest(from, to, term, entries[1].Position, new LogIndex(5), []), new Heartbeat(from, to, term, new LogIndex(5), 3), new VoteResponse(from, to, term, false, true),
            new AppendResponse(from, to, term, true, new LogIndex(3), default), new AppendResponse(from, to, term, false, new LogIndex(3), three), new HeartbeatResponse(from, to, term, 1),
            new InstallSnapshot(from, to, term, new SnapshotMetadata(new LogPosition(term, new LogIndex(9)), conf)), new ReadIndexRequest(from, to, 5), new ReadIndexResponse(from, to, term, 5, new LogIndex(3)),
            new TimeoutNow(from, to, term), new ForwardedProposal(from, to, [new ProposedEntry(EntryKind.Normal, put)]), new TransferRequest(from, to, from),
        ];
    }

    /// <summary>A member of three that has started, and leads in one of three lives.</summary>
    private sealed class Fellow : IReplicaWaiters, IDisposable
    {
        private readonly Replica _replica;
        private static int s_lives;

        public Fellow()
        {
            RaftNode raft = new(new RaftConfig { Id = new MemberId(1), Prng = new Prng(1) }, new RaftStart());
            raft.Bootstrap([.. Enumerable.Range(1, 3).Select(static i => ConfChange.Of(
                ConfChangeKind.AddVoter, new MemberId((ulong)i), new MembershipContext(0, new Etcd.Protocol.Member { ID = (ulong)i }).Encode()))]);
            _replica = new Replica(raft, new Applier(new Mvcc.MvccStore(), leaseTtlSecondsMin: 2), clusterId: 9, default, quotaBytes: 0);
            Turn();
            if (s_lives++ % 3 == 0)
            {
                raft.Campaign();
                Turn();
                Take(new VoteResponse(new MemberId(2), new MemberId(1), raft.Term.Next(), true, true));
                Take(new VoteResponse(new MemberId(2), new MemberId(1), raft.Term, false, true));
            }
        }

        public bool IsWaiting(ulong requestId) => false;

        public void Complete(ulong requestId, ApplyOutcome outcome)
        {
            // Nobody waits here.
        }

        public void Take(Message message)
        {
            if (message is InstallSnapshot)
            {
                // Comes with a checkpoint in the product, never on the stream.
                return;
            }

            if (message is ForwardedProposal proposal && !proposal.Entries.All(PeerReceiver.IsCommand))
            {
                throw new InvalidDataException("a proposal that is no command");
            }

            _replica.Raft.Step(message);
            Turn();
            _replica.Tick(100);
            Turn();
        }

        public void Dispose() => _replica.Dispose();

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
}
