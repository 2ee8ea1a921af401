using System.Buffers.Binary;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

/// <summary>A checkpoint of so many bytes that another thread prepares the pages.</summary>
public sealed class LargeCheckpointTests
{
    private const int Keys = 24_000;
    private const int ValueBytes = 4_000;

    [Fact]
    public void Read_with_another_thread_beside_it_is_the_same_store()
    {
        using MvccStore store = Fill();
        byte[] bytes = CheckpointBytes.Of(store);
        int pieces = 0;
        using MvccStore alone = CheckpointLoader.Load(new MemoryStream(bytes));
        using MvccStore beside = CheckpointLoader.Load(new MemoryStream(bytes), work =>
        {
            Interlocked.Increment(ref pieces);
            return Task.Run(work);
        });

        // What was prepared and not needed is not held.
        Assert.Equal(alone.AllocatedBytes, beside.AllocatedBytes);
        Assert.NotEqual(0, pieces);
        byte[] key = new byte[4];
        for (int i = 0; i < Keys; i++)
        {
            BinaryPrimitives.WriteInt32BigEndian(key, i);
            Assert.True(beside.TryGet(key, beside.Revision, out RecordAddress at));
            Assert.Equal(Value(i), beside.Read(at).Value);
        }
    }

    [Fact]
    public void One_that_is_cut_short_is_refused_while_pages_are_being_prepared()
    {
        using MvccStore store = Fill();
        byte[] bytes = CheckpointBytes.Of(store);
        MemoryStream cut = new(bytes, 0, bytes.Length - 100);
        Assert.Throws<InvalidDataException>(() => CheckpointLoader.Load(cut, Task.Run));
    }

    private static MvccStore Fill()
    {
        MvccStore store = new();
        byte[] key = new byte[4];
        for (int i = 0; i < Keys; i++)
        {
            BinaryPrimitives.WriteInt32BigEndian(key, i);
            store.BeginWrite();
            store.Put(key, Value(i), 0);
            store.EndWrite();
        }

        return store;
    }

    private static byte[] Value(int of)
    {
        byte[] value = new byte[ValueBytes];
        BinaryPrimitives.WriteInt32BigEndian(value, of);
        value[^1] = (byte)of;
        return value;
    }
}
