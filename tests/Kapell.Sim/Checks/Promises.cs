using System.Text;
using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Sim.World;
using Kapell.Storage;
using Role = Kapell.Raft.Role;

namespace Kapell.Sim.Checks;

/// <summary>
/// What must hold at every moment, looked at from outside: one leader a term, one log, one content at each place of it. The first member
/// to apply an entry writes down what all others must agree with.
/// </summary>
internal sealed class Promises(Simulation sim)
{
    private const ulong HashEvery = 7;

    private readonly Dictionary<ulong, int> _leaders = [];
    private readonly Dictionary<(ulong Index, ulong Term), (uint Crc, ulong PreviousTerm)> _appended = [];
    private readonly Dictionary<(int Member, ulong Index), ulong> _termsOfMember = [];
    private readonly Dictionary<ulong, uint> _hashes = [];
    private readonly List<(Term Term, uint Crc, long Revision)> _applied = [default];
    private readonly List<IReadOnlyList<Change>> _changes = [[], []];

    /// <summary>The number of entries that some member has applied.</summary>
    public int AppliedCount => _applied.Count - 1;

    public long Revision => _changes.Count - 1;

    public ulong HighestTerm { get; private set; }

    public LeaseClock Leases { get; } = new(sim);

    /// <summary>The changes of a revision, in order.</summary>
    public IReadOnlyList<Change> ChangesOf(long revision) => _changes[(int)revision];

    public void LeaderChanged(MemberProcess process, SoftState soft)
    {
        ulong term = process.Replica.Raft.Term.Value;
        sim.Trace($"{process.Number} is {soft.Role} of term {term}, leader {soft.Leader}");
        if (soft.Role != Role.Leader)
        {
            return;
        }

        HighestTerm = Math.Max(HighestTerm, term);
        sim.Unseed.Add(term * 100 + (ulong)process.Number);
        if (!_leaders.TryAdd(term, process.Number) && _leaders[term] != process.Number)
        {
            throw sim.Fail($"members {_leaders[term]} and {process.Number} lead in term {term} (Raft §5.2)");
        }

        sim.LeaderElections++;
    }

    /// <summary>The member forgot the terms of what it had not written.</summary>
    public void Restarted(MemberProcess process) => _termsOfMember.Where(t => t.Key.Member == process.Number).Select(static t => t.Key).ToList()
        .ForEach(key => _termsOfMember.Remove(key));

    /// <summary>Log matching (Raft §5.3): an entry of one index and term is one entry, and what precedes it is one too.</summary>
    public void Appended(MemberProcess process, Ready ready)
    {
        if (ready.Snapshot is { } snapshot)
        {
            // The leader's history takes the place of all that was here.
            Restarted(process);
            _termsOfMember[(process.Number, snapshot.Index.Value)] = snapshot.Position.Term.Value;
        }

        foreach (Entry entry in ready.Entries)
        {
            ulong index = entry.Index.Value;
            ulong term = entry.Term.Value;
            _termsOfMember[(process.Number, index)] = term;
            _termsOfMember.TryGetValue((process.Number, index - 1), out ulong previous);
            uint crc = Crc32C.Compute(entry.Data.Span);
            if (!_appended.TryGetValue((index, term), out (uint Crc, ulong PreviousTerm) known))
            {
                _appended[(index, term)] = (crc, previous);
            }
            else if (known.Crc != crc || (known.PreviousTerm != previous && known.PreviousTerm != 0 && previous != 0))
            {
                throw sim.Fail($"member {process.Number} has another entry {index} of term {term} than others (Raft §5.3)");
            }
        }
    }

    /// <summary>An entry was carried out: it must be everyone's, with the same effect (Raft §5.4.3).</summary>
    public void Applied(MemberProcess process, Entry entry, long before)
    {
        MvccStore store = process.Store;
        ulong index = entry.Index.Value;
        (Term, uint, long) mine = (entry.Term, Crc32C.Compute(entry.Data.Span), store.Revision);
        bool first = index == (ulong)_applied.Count;
        if (first)
        {
            _applied.Add(mine);
            sim.Unseed.Add((index << 32) | mine.Item2);
            Record(process, entry, before);
        }
        else if (index > (ulong)_applied.Count)
        {
            throw sim.Fail($"member {process.Number} applies entry {index}, but nobody applied {_applied.Count}");
        }
        else if (_applied[(int)index] != mine)
        {
            throw sim.Fail($"member {process.Number} has applied {mine} at {index}, another member {_applied[(int)index]}: term, sum of the entry, revision after it");
        }

        CompareChanges(process, before);
        if (index % HashEvery == 0)
        {
            CompareContent(process);
        }
    }

    public void Installed(MemberProcess process) => CompareContent(process);

    /// <summary>Same place in the log, same content: pairs and history, leases, members, alarms.</summary>
    public uint CompareContent(MemberProcess process)
    {
        uint hash = HashOf(process);
        ulong index = process.Replica.AppliedPosition.Index.Value;
        if (!_hashes.TryAdd(index, hash) && _hashes[index] != hash)
        {
            throw sim.Fail($"member {process.Number} has another content than others after entry {index}: {hash:x8}, not {_hashes[index]:x8}");
        }

        return hash;
    }

    private static uint HashOf(MemberProcess process)
    {
        MvccStore store = process.Store;
        Applier applier = process.Replica.Applier;
        StringBuilder rest = new();
        rest.Append($"{StoreHash.Compute(store, store.Revision):x8} {store.Revision} {store.CompactRevision};");
        foreach (LeaseInfo lease in store.Leases.All())
        {
            rest.Append($"{lease.Id} {lease.Ttl}");
            store.KeysOfLease(lease.Id).ForEach(k => rest.Append(Encoding.UTF8.GetString(k)).Append(','));
        }

        rest.AppendJoin(',', applier.Alarms.Select(static a => $"{a.Member} {a.Alarm}"));
        rest.AppendJoin(',', applier.Members.All.Select(static m => m.ToByteString().ToBase64()));
        rest.AppendJoin(',', applier.Members.Removed);
        rest.Append(Convert.ToBase64String(AuthRecordsCodec.Save(applier.Auth).ToByteArray()));
        rest.Append(process.Replica.Raft.ConfState);
        return Crc32C.Compute(Encoding.UTF8.GetBytes(rest.ToString()));
    }

    private void Record(MemberProcess process, Entry entry, long before)
    {
        MvccStore store = process.Store;
        List<Change> changes = ChangesSince(store, before);
        if (changes.Count > 0)
        {
            Check.That(store.Revision == _changes.Count);
            _changes.Add(changes);
        }

        if (entry.Kind == EntryKind.Normal && !entry.Data.IsEmpty)
        {
            Leases.Applied(Command.Decode(entry.Data.Span));
        }
    }

    private void CompareChanges(MemberProcess process, long before)
    {
        List<Change> changes = ChangesSince(process.Store, before);
        if (changes.Count > 0 && !changes.SequenceEqual(ChangesOf(changes[0].Revision)))
        {
            throw sim.Fail($"member {process.Number} made other changes at revision {changes[0].Revision} than others");
        }
    }

    private static List<Change> ChangesSince(MvccStore store, long before)
    {
        List<Change> changes = [];
        for (long position = before; position < store.LogEnd; position++)
        {
            if (store.ReadChange(position, out long revision, out RecordAddress address))
            {
                KeyValueRecord record = store.Read(address);
                string key = Encoding.UTF8.GetString(record.Key);
                changes.Add(new Change(revision, key, address.IsTombstone ? null : Encoding.UTF8.GetString(record.Value)));
            }
        }

        return changes;
    }
}
