using System.Runtime.InteropServices;

namespace Kapell.Mvcc;

/// <summary>
/// Memory outside the collected heap that begins at a multiple of <see cref="Bytes"/>, for which Linux is asked to use huge pages: what is read here and
/// there over gigabytes otherwise waits at each read for the processor to walk the tables of pages first. Only advice; where it is not
/// taken all works the same.
/// </summary>
internal static unsafe partial class HugePages
{
    /// <summary>A huge page of x86-64 and of arm64 with pages of 4 KiB.</summary>
    public const int Bytes = 2 << 20;

    private const int AdviseHugePage = 14;

    /// <summary>Freed by <see cref="Free"/>.</summary>
    public static void* Allocate(nuint bytes, bool advise)
    {
        void* memory = NativeMemory.AlignedAlloc(bytes, Bytes);
        if (advise && OperatingSystem.IsLinux())
        {
            _ = Advise(memory, bytes, AdviseHugePage);
        }

        return memory;
    }

    public static void Free(void* memory) => NativeMemory.AlignedFree(memory);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* start, nuint bytes, int advice);
}
