using System.Buffers.Binary;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

/// <summary>Keys by number, in the order of the numbers, for tests of stores of many.</summary>
internal static class NumberedKeys
{
    public static byte[] Key(int number)
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(bytes, number);
        return bytes;
    }

    public static void PutNumber(this MvccStore store, int number, byte[] value)
    {
        store.BeginWrite();
        store.Put(Key(number), value, lease: 0);
        store.EndWrite();
    }

    /// <summary>Compacts to now, and does all that follows from it; true when pages that were mostly alive were emptied.</summary>
    public static bool CompactWhole(this MvccStore store)
    {
        Assert.Equal(RevisionStatus.Ok, store.Compact(store.Revision));
        bool tidied = false;
        while (store.Maintain(256))
        {
            tidied |= store.IsTidying;
        }

        return tidied;
    }
}
