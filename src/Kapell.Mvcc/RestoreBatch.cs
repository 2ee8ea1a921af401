using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Kapell.Mvcc;

/// <summary>
/// Changes that wait to be put into the index, which is done in the order of keys: in the order of revisions each would visit another
/// part of the index, and a start with ten million keys would wait for memory for a minute and a half. Sorted by seven bytes of the keys
/// at a time, so that a key is visited once for all its comparisons at a depth (Bentley and Sedgewick, "Fast algorithms for sorting and
/// searching strings", with the bytes kept beside the items).
/// </summary>
/// <param name="index">Nobody else uses it before <see cref="Flush"/> has returned.</param>
/// <param name="beside">Puts a whole batch into the index while the next is gathered, on another thread if it likes.</param>
internal sealed class RestoreBatch(KeyIndex index, Func<Action, Task> beside)
{
    /// <summary>24 MiB, and enough that neighbours in the batch are close to each other in an index of many millions.</summary>
    private const int Capacity = 1 << 20;

    private const int BytesAtOnce = 7;

    /// <summary>How many records the processor reads at the same time.</summary>
    private const int Ahead = 8;

    /// <summary>Keys of which each begins with another are compared whole from here on, for each would be a call inside the one before.</summary>
    private const int CallsMax = 64;

    private List<Change> _changes = [];
    private List<Change> _sorting = [];
    private Task _running = Task.CompletedTask;
    private long _last;

    /// <exception cref="FormatException">Changes do not come in the order of revisions, or a key had a later one already.</exception>
    public void Add(RevisionItem item)
    {
        if (item.Main < _last)
        {
            throw new FormatException($"a change of revision {item.Main} stands behind one of {_last}");
        }

        _last = item.Main;
        _changes.Add(new Change { Item = item });
        if (_changes.Count == Capacity)
        {
            _running.GetAwaiter().GetResult();
            (_changes, _sorting) = (_sorting, _changes);
            _running = beside(() => PutIntoIndex(_sorting));
        }
    }

    /// <summary>Returns when the index has everything.</summary>
    /// <exception cref="FormatException">A key had a later change already.</exception>
    public void Flush()
    {
        _running.GetAwaiter().GetResult();
        PutIntoIndex(_changes);
    }

    /// <summary>Returns when the index is not used any more; what failed is of no interest.</summary>
    public void Abandon() => ((IAsyncResult)_running).AsyncWaitHandle.WaitOne();

    private void PutIntoIndex(List<Change> gathered)
    {
        Span<Change> changes = CollectionsMarshal.AsSpan(gathered);
        Sort(changes, 0, 0);
        for (int i = 0; i < changes.Length; i++)
        {
            Prefetch(changes, i);
            index.Restore(changes[i].Key, changes[i].Item);
        }

        gathered.Clear();
    }

    /// <summary>By key, then by revision. All keys have the first <paramref name="at"/> bytes in common.</summary>
    private static void Sort(Span<Change> changes, int at, int calls)
    {
        if (changes.Length < 2)
        {
            return;
        }

        if (calls == CallsMax)
        {
            changes.Sort(static (a, b) => a.Key.SequenceCompareTo(b.Key) is var order && order != 0 ? order : a.CompareRevision(b));
            return;
        }

        at += CommonLength(changes, at);
        for (int i = 0; i < changes.Length; i++)
        {
            Prefetch(changes, i);
            changes[i].Head = HeadOf(changes[i].Key, at);
        }

        changes.Sort(static (a, b) => a.Head.CompareTo(b.Head));
        for (int start = 0, end; start < changes.Length; start = end)
        {
            ulong head = changes[start].Head;
            for (end = start + 1; end < changes.Length && changes[end].Head == head; end++)
            {
            }

            Span<Change> equal = changes[start..end];
            if ((head & 0xFF) > BytesAtOnce)
            {
                Sort(equal, at + BytesAtOnce, calls + 1);
            }
            else if (equal.Length > 1)
            {
                equal.Sort(static (a, b) => a.CompareRevision(b));
            }
        }
    }

    private static void Prefetch(ReadOnlySpan<Change> changes, int at)
    {
        if (at + Ahead < changes.Length)
        {
            RecordPages.Prefetch(changes[at + Ahead].Item.Address);
        }
    }

    /// <summary>How many bytes after the first <paramref name="at"/> all keys have in common.</summary>
    private static int CommonLength(ReadOnlySpan<Change> changes, int at)
    {
        ReadOnlySpan<byte> common = changes[0].Key[at..];
        for (int i = 1; i < changes.Length; i++)
        {
            Prefetch(changes, i);
            common = common[..common.CommonPrefixLength(changes[i].Key[at..])];
        }

        return common.Length;
    }

    /// <summary>
    /// Seven bytes of a key, zeros where it has ended, and last how many bytes it had there, or eight when it goes on: as a number this
    /// orders as the keys do, and of two equal ones that do not go on the keys are equal.
    /// </summary>
    private static ulong HeadOf(ReadOnlySpan<byte> key, int at)
    {
        ReadOnlySpan<byte> rest = key[at..];
        if (rest.Length > BytesAtOnce)
        {
            return (BinaryPrimitives.ReadUInt64BigEndian(rest) & ~0xFFUL) | (BytesAtOnce + 1);
        }

        ulong head = 0;
        for (int i = 0; i < rest.Length; i++)
        {
            head |= (ulong)rest[i] << (56 - (8 * i));
        }

        return head | (uint)rest.Length;
    }

    private struct Change
    {
        public ulong Head;
        public RevisionItem Item;

        public readonly ReadOnlySpan<byte> Key => KeyValueRecord.KeyOf(RecordPages.Read(Item.Address));

        public readonly int CompareRevision(in Change other) => Item.Main != other.Item.Main
            ? Item.Main.CompareTo(other.Item.Main)
            : RecordPages.SubOf(Item.Address).CompareTo(RecordPages.SubOf(other.Item.Address));
    }
}
