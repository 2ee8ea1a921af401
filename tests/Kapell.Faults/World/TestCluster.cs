using System.Diagnostics;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;

namespace Kapell.Faults.World;

/// <summary>All members, and what may be done to them together. Member numbers are places in <see cref="Members"/>.</summary>
internal sealed class TestCluster : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private readonly int _snapshotCount;
    private readonly HashSet<int> _joined = [];

    /// <param name="controlGroup">A name of its own, for slow disks.</param>
    public TestCluster(string directory, string controlGroup, int members, int snapshotCount)
    {
        _snapshotCount = snapshotCount;
        ControlGroup = Path.Combine("/sys/fs/cgroup/blkio", controlGroup);
        Network = new Network(members);
        Members = [.. Enumerable.Range(0, members).Select(i => new Member(i, Path.Combine(directory, $"n{i}"), Path.Combine(ControlGroup, $"n{i}")))];
        foreach (Member member in Members)
        {
            member.Disk.Make();
        }
    }

    public string ControlGroup { get; }

    public Network Network { get; }

    public IReadOnlyList<Member> Members { get; }

    /// <summary>The wall clock of a member can jump.</summary>
    public bool HasWallClocks => Members.All(static m => m.WallClocks is not null);

    public int Majority => (Members.Count / 2) + 1;

    private string InitialCluster => string.Join(',', Members.Select(static m => $"{m.Name}={m.PeerUrl}"));

    public static CallOptions Within(double seconds) => new(deadline: DateTime.UtcNow.AddSeconds(seconds));

    public static ByteString Bytes(string text) => ByteString.CopyFromUtf8(text);

    public void Start(int member, TimeSpan? uptime = null) => Members[member].Start(InitialCluster, _joined.Contains(member), _snapshotCount, uptime);

    /// <summary>The place of the leader, as soon as one says that it leads.</summary>
    public async Task<int> LeaderAsync()
    {
        int leader = -1;
        await UntilAsync("one of the members leads", async () =>
        {
            foreach (Member member in Members.Where(static m => m is { Runs: true, IsPaused: false }))
            {
                StatusResponse? status = await StatusAsync(member);
                if (status is not null && status.Leader != 0 && status.Leader == status.Header.MemberId)
                {
                    leader = member.Index;
                    return true;
                }
            }

            return false;
        });
        return leader;
    }

    public static async Task<StatusResponse?> StatusAsync(Member member)
    {
        try
        {
            return await member.Maintenance.StatusAsync(new StatusRequest(), Within(2));
        }
        catch (RpcException)
        {
            return null;
        }
    }

    public static async Task<bool> ServesAsync(Member member)
    {
        try
        {
            await member.Kv.RangeAsync(new RangeRequest { Key = Bytes("?") }, Within(3));
            return true;
        }
        catch (RpcException)
        {
            return false;
        }
    }

    /// <summary>Each of the members answers a linearizable read.</summary>
    public Task ServeAsync(params IEnumerable<int> members) => UntilAsync("members serve", async () =>
    {
        foreach (int member in members)
        {
            if (!await ServesAsync(Members[member]))
            {
                return false;
            }
        }

        return true;
    });

    public Task AllServeAsync() => ServeAsync(Enumerable.Range(0, Members.Count));

    /// <summary>Tries until it is so.</summary>
    public async Task UntilAsync(string what, Func<Task<bool>> condition)
    {
        long begun = Stopwatch.GetTimestamp();
        while (!await condition())
        {
            FailIfOneEnded();
            if (Stopwatch.GetElapsedTime(begun) > Patience)
            {
                throw Fail($"not within {Patience.TotalSeconds} s: {what}");
            }

            await Task.Delay(30);
        }
    }

    /// <summary>A member that ended by itself, with nothing taken from it.</summary>
    public void FailIfOneEnded()
    {
        if (Members.FirstOrDefault(static m => m.ExitCode is not null && !m.MayEnd) is { } ended)
        {
            throw Fail($"{ended.Name} ended by itself with {ended.ExitCode}");
        }
    }

    /// <summary>All faults end, all members run; the time until all serve.</summary>
    public async Task<TimeSpan> HealAsync()
    {
        Network.Heal();
        foreach (Member member in Members)
        {
            member.Disk.SpeedUp();
            member.Disk.Empty();
            member.SetWallClock(TimeSpan.Zero);
            member.Resume();
        }

        FailIfOneEnded();
        foreach (Member member in Members.Where(static m => !m.Runs))
        {
            Start(member.Index);
        }

        long begun = Stopwatch.GetTimestamp();
        await AllServeAsync();
        return Stopwatch.GetElapsedTime(begun);
    }

    /// <summary>The member is taken out, loses all it has, and comes back as a new one under its old addresses.</summary>
    public async Task WipeAndRejoinAsync(int victim)
    {
        Member gone = Members[victim];
        gone.Kill();
        gone.Disk.Unmount();
        ulong id = 0;
        await ByAnyOtherAsync(victim, "the member is removed", async other =>
        {
            MemberListResponse list = await other.Cluster.MemberListAsync(Now, Within(3));
            Etcd.Protocol.Member? entry = list.Members.FirstOrDefault(m => m.PeerURLs.Contains(gone.PeerUrl));
            if (entry is not null)
            {
                id = entry.ID;
                await other.Cluster.MemberRemoveAsync(new MemberRemoveRequest { ID = id }, Within(5));
            }
        });
        await ByAnyOtherAsync(victim, "the member is added", async other =>
        {
            MemberListResponse list = await other.Cluster.MemberListAsync(Now, Within(3));
            if (!list.Members.Any(m => m.PeerURLs.Contains(gone.PeerUrl)))
            {
                MemberAddRequest add = new();
                add.PeerURLs.Add(gone.PeerUrl);
                await other.Cluster.MemberAddAsync(add, Within(5));
            }
        });
        gone.Disk.Make();
        _joined.Add(victim);
        Start(victim);
        await ServeAsync(victim);
    }

    public FaultsFailedException Fail(string what) =>
        new(what + string.Concat(Members.Select(static m => $"\n=== {m.Name} {(m.Runs ? "runs" : "does not run")}\n{m.LastWords()}")));

    public void Dispose()
    {
        foreach (Member member in Members)
        {
            member.Dispose();
        }

        Network.Dispose();
        Directory.Delete(ControlGroup);
    }

    /// <summary>A member that is behind would still list the one that was removed, and nobody would add it.</summary>
    private static MemberListRequest Now => new() { Linearizable = true };

    private Task ByAnyOtherAsync(int victim, string what, Func<Member, Task> work) => UntilAsync(what, async () =>
    {
        foreach (Member other in Members.Where(m => m.Index != victim && m is { Runs: true, IsPaused: false }))
        {
            try
            {
                await work(other);
                return true;
            }
            catch (RpcException)
            {
                // The next one may do it, or a later try.
            }
        }

        return false;
    });
}
