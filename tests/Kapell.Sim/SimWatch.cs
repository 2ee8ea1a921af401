using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Rpc;
using Kapell.Mvcc;
using Kapell.Sim.Checks;
using Kapell.Sim.World;
using Event = Kapell.Etcd.Protocol.Event;

namespace Kapell.Sim;

/// <summary>
/// A client that watches a range, resumes elsewhere behind the last it has seen when its member fails, and begins anew at the compacted
/// revision when its place is gone. Checks as it goes what etcd promises of a watch: ordered, unique, reliable, atomic, resumable,
/// bookmarks true. https://etcd.io/docs/v3.7/learning/api_guarantees/
/// </summary>
internal sealed class SimWatch
{
    private const int FragmentBytes = 600;
    private readonly Simulation _sim;
    private readonly Prng _prng;
    private readonly string _key;
    private readonly bool _single;
    private readonly bool _fragments;
    private readonly int _slownessMicroseconds;
    private readonly List<Change> _pending = [];
    private MemberProcess? _process;
    private WatchSession? _session;
    private int _life;
    private bool _collecting;
    private bool _created;
    private bool _startsNow;

    /// <param name="key">The key, or with <paramref name="single"/> false all keys that begin with it.</param>
    /// <param name="from">The first revision wanted; 0: from now on.</param>
    public SimWatch(Simulation sim, Prng prng, string key, bool single, long from, int slownessMicroseconds)
    {
        (_sim, _prng, _key, _single, Next, _slownessMicroseconds) = (sim, prng, key, single, from, slownessMicroseconds);
        (_fragments, _startsNow) = (prng.Chance(0.3), from == 0);
    }

    /// <summary>The first revision not seen yet.</summary>
    public long Next { get; private set; }

    public int Events { get; private set; }

    public int Resumed { get; private set; }

    /// <summary>How often its place was compacted away.</summary>
    public int Compacted { get; private set; }

    /// <summary>It has been told of everything there is.</summary>
    public bool IsUpToDate => _process is { Ended: false } && _created && !Missing(Next, _sim.Checks.Revision).Any();

    /// <summary>Connects to some member that runs.</summary>
    public void Connect(int? member = null)
    {
        _life++;
        (_process, _session, _created, _collecting) = (null, null, false, false);
        _pending.Clear();
        MemberProcess[] running = [.. _sim.Running.Where(p => !p.Paused && (member is null || p.Number == member))];
        if (running.Length == 0)
        {
            Again();
            return;
        }

        Resumed++;
        int life = _life;
        MemberProcess process = running[_prng.NextInt(0, running.Length)];
        WatchSession session = new(FragmentBytes, new WatchCounts(), () => Signal(life));
        (_process, _session) = (process, session);
        long start = _sim.Breakage.WatchStarts?.Invoke(Next) ?? Next;
        WatchCreateRequest request = new()
        {
            Key = ByteString.CopyFromUtf8(_key), RangeEnd = _single ? ByteString.Empty : ByteString.CopyFromUtf8(_key + "\u007f"),
            StartRevision = _startsNow ? 0 : start, Fragment = _fragments, ProgressNotify = true,
        };
        process.Input(() =>
        {
            Watcher watcher = session.Create(request)!;
            session.Register(watcher, process.Store, _sim.Breakage.Watch?.Invoke(watcher));
        });
        Signal(life);
        Look(life);
    }

    /// <summary>Asks how far it is.</summary>
    public void AskProgress()
    {
        if (_process is { Ended: false })
        {
            _session!.WantProgress();
            Signal(_life);
        }
    }

    // A client notices a broken connection, and now and then a timer asks for progress.
    private void Look(int life) => _sim.Agenda.In(_prng.NextInt(20, 400) * 1000L, () =>
    {
        if (life != _life)
        {
            return;
        }

        if (_process is not { Ended: false } || _prng.Chance(0.01))
        {
            Connect();
            return;
        }

        if (_prng.Chance(0.2))
        {
            _session!.ProgressDue();
            Signal(life);
        }

        Look(life);
    });

    private void Again() => _sim.Agenda.In(_prng.NextInt(50, 500) * 1000L, () => Connect());

    private void Signal(int life)
    {
        if (life == _life && !_collecting)
        {
            _collecting = true;
            _sim.Agenda.In(_prng.NextInt(0, _slownessMicroseconds), () => Collect(life));
        }
    }

    private void Collect(int life)
    {
        if (life != _life || _process is not { Ended: false } process)
        {
            return;
        }

        process.Input(() =>
        {
            if (life == _life)
            {
                CollectNow(life, process);
            }
        });
    }

    private void CollectNow(int life, MemberProcess process)
    {
        List<Reply> replies = [];
        List<long> compacted = [];
        bool more = _session!.Collect(process.Store, process.Replica.Header, replies, compacted, out _);
        _collecting = false;
        compacted.ForEach(id => WatchSession.Unregister(_session.Remove(id)!, process.Store));
        WatchResponse[] responses = [.. replies.Select(static r => WatchResponse.Parser.ParseFrom(r.Span))];
        foreach (WatchResponse response in responses)
        {
            Take(_sim.Breakage.WatchAnswers?.Invoke(response) ?? response);
        }

        if (more)
        {
            Signal(life);
        }
    }

    private void Take(WatchResponse response)
    {
        if (response.Created)
        {
            _created = true;
            if (_startsNow)
            {
                // From now on means: from behind the revision of this answer.
                (_startsNow, Next) = (false, response.Header.Revision + 1);
            }
        }
        else if (response.CompactRevision > 0)
        {
            if (response.CompactRevision <= Next)
            {
                throw _sim.Fail($"a watch of {_key} at {Next} was told that it was compacted, up to {response.CompactRevision}");
            }

            Compacted++;
            Next = response.CompactRevision;
            _life++;
            Again();
        }
        else if (response.Events.Count == 0)
        {
            if (response.Header.Revision + 1 < Next)
            {
                throw _sim.Fail($"a watch of {_key} from {Next} at member {_process!.Number} got a bookmark of the past, {response.Header.Revision}");
            }

            Demand(response.Header.Revision + 1, "a bookmark says that all was sent");
        }
        else
        {
            TakeEvents(response);
        }
    }

    private void TakeEvents(WatchResponse response)
    {
        foreach (IGrouping<long, Event> group in response.Events.GroupBy(static e => e.Kv.ModRevision))
        {
            long revision = group.Key;
            if (_pending.Count > 0 && _pending[0].Revision != revision)
            {
                TakeRevision(_pending[0].Revision);
            }

            Change[] mine = [.. group.Select(e => new Change(revision, e.Kv.Key.ToStringUtf8(), e.Type == Event.Types.EventType.Delete ? null : e.Kv.Value.ToStringUtf8()))];
            _pending.AddRange(mine);
            if (response.Fragment && revision == response.Events[^1].Kv.ModRevision)
            {
                // The rest of this revision may follow in the next fragment.
                continue;
            }

            TakeRevision(revision);
        }
    }

    private void TakeRevision(long revision)
    {
        Change[] mine = [.. _pending];
        _pending.Clear();
        Change[] wanted = [.. _sim.Checks.ChangesOf(revision).Where(Matches)];
        if (revision < Next || !mine.SequenceEqual(wanted))
        {
            throw _sim.Fail($"a watch of {_key} from {Next} at member {_process!.Number} got [{string.Join(", ", mine)}] where [{string.Join(", ", wanted)}] happened");
        }

        Demand(revision, $"revision {revision} came");
        Events += mine.Length;
        Next = revision + 1;
        _sim.Unseed.Add(revision);
    }

    /// <summary>Everything before the revision must have been sent.</summary>
    private void Demand(long before, string why)
    {
        Change[] missing = [.. Missing(Next, before - 1)];
        if (missing.Length > 0)
        {
            throw _sim.Fail($"{why}, but a watch of {_key} from {Next} at member {_process!.Number} never got {missing[0]}");
        }

        Next = Math.Max(Next, before);
    }

    private IEnumerable<Change> Missing(long from, long to)
    {
        for (long revision = Math.Max(from, 2); revision <= Math.Min(to, _sim.Checks.Revision); revision++)
        {
            foreach (Change change in _sim.Checks.ChangesOf(revision).Where(Matches))
            {
                yield return change;
            }
        }
    }

    private bool Matches(Change change) => _single ? change.Key == _key : change.Key.StartsWith(_key, StringComparison.Ordinal);
}
