using Kapell.Sim.World;
using Kapell.Storage;

namespace Kapell.Sim.Faults;

/// <summary>The process is gone; now say what became of what its disk had not flushed.</summary>
internal readonly struct CrashFault(SimMember member)
{
    /// <summary>Power failed: all of it is lost.</summary>
    public void DropUnsynced() => member.Disk.Crash(CrashMode.LoseUnsynced);

    /// <summary>Only the process died: the kernel wrote it all.</summary>
    public void KeepUnsynced() => member.Disk.Crash(CrashMode.KeepUnsynced);

    /// <summary>Some sectors arrived, some did not.</summary>
    public void Tear() => member.Disk.Crash(CrashMode.Torn);

    /// <summary>Some sectors arrived, some did not, some arrived with a wrong bit.</summary>
    public void Garble() => member.Disk.Crash(CrashMode.Garbled);
}
