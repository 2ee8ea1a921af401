using System.Runtime.InteropServices;

namespace Kapell.Mvcc;

/// <summary>Entries in unmanaged blocks of about 64 KiB, for an allocation of its own would cost a third more. A free one holds the address of the next.</summary>
internal sealed unsafe class KeyEntryPool : IDisposable
{
    private const int BlockEntries = 2730;

    private readonly List<nint> _blocks = [];
    private nint _free;
    private int _used = BlockEntries;

    public KeyEntry* Take()
    {
        if (_free != 0)
        {
            nint taken = _free;
            _free = *(nint*)taken;
            return (KeyEntry*)taken;
        }

        if (_used == BlockEntries)
        {
            _blocks.Add((nint)NativeMemory.Alloc((nuint)(BlockEntries * sizeof(KeyEntry))));
            _used = 0;
        }

        return (KeyEntry*)_blocks[^1] + _used++;
    }

    public void Return(KeyEntry* entry)
    {
        *(nint*)entry = _free;
        _free = (nint)entry;
    }

    public void Dispose()
    {
        foreach (nint block in _blocks)
        {
            NativeMemory.Free((void*)block);
        }

        _blocks.Clear();
        (_free, _used) = (0, BlockEntries);
    }
}
