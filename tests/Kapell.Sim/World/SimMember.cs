using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Storage;

namespace Kapell.Sim.World;

/// <summary>One member: its disk, which outlives its processes, and the process that runs now, if any. Its number is never used again.</summary>
internal sealed class SimMember(int number, Founding founding, Prng prng)
{
    public int Number { get; } = number;

    public MemoryDisk Disk { get; private set; } = new(prng.Split());

    public Founding Founding { get; } = founding;

    public Prng Prng { get; } = prng;

    public MemberProcess? Process { get; set; }

    /// <summary>Its disk is gone for good; it is never started again.</summary>
    public bool IsWiped { get; private set; }

    /// <summary>It was taken out of the cluster.</summary>
    public bool IsRemoved { get; set; }

    public bool Runs => Process is { Ended: false };

    public bool MayRun => !IsWiped && !IsRemoved;

    public static Member Entry(int number, bool learner = false)
    {
        Member member = new() { ID = (ulong)number, Name = $"m{number}", IsLearner = learner };
        member.PeerURLs.Add($"http://m{number}:2380");
        return member;
    }

    public void Wipe()
    {
        IsWiped = true;
        Disk = new MemoryDisk(Prng.Split());
    }
}
