using System.Runtime.InteropServices;
using System.Text;
using Kapell.Mvcc;

namespace Kapell.Sim.Faults;

/// <summary>What a bad memory chip does.</summary>
internal static class MemoryFault
{
    /// <summary>The newest value of a key has one bit that is not as it was written.</summary>
    public static void FlipValue(MvccStore store, string key)
    {
        if (!store.TryGet(Encoding.UTF8.GetBytes(key), 0, out RecordAddress address))
        {
            throw new InvalidOperationException($"there is no {key}");
        }

        ReadOnlySpan<byte> value = store.Read(address).Value;
        MemoryMarshal.GetReference(value) ^= 1;
    }
}
