using System.Text;
using CsCheck;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

/// <summary>Any history leaves in the store what it leaves in the model, at every revision that can still be read.</summary>
public sealed class StoreModelTests
{
    private const int Keys = 12;

    private static readonly Gen<Step> AnyStep = Gen.Frequency(
        (10, Gen.Select(Gen.Int[0, Keys - 1], Gen.Int[0, 40], Gen.Int[0, 3]).Select((k, v, l) => new Step(Kind.Put, k, v, l))),
        (4, Gen.Select(Gen.Int[0, Keys - 1], Gen.Int[0, Keys]).Select((a, b) => new Step(Kind.Delete, a, b, 0))),
        (3, Gen.Select(Gen.Int[0, Keys - 1], Gen.Int[0, Keys - 1], Gen.Int[0, 3]).Select((a, b, l) => new Step(Kind.Both, a, b, l))),
        (2, Gen.Select(Gen.Int[0, Keys - 1], Gen.Int[0, Keys], Gen.Int[0, 3]).Select((a, b, l) => new Step(Kind.DeleteAndPutAgain, a, b, l))),
        (2, Gen.Select(Gen.Int[0, Keys - 1], Gen.Int[0, Keys], Gen.Int[0, 3]).Select((a, b, l) => new Step(Kind.PutAndDelete, a, b, l))),
        (2, Gen.Int[1, 3].Select(l => new Step(Kind.Grant, 0, 0, l))),
        (1, Gen.Int[1, 3].Select(l => new Step(Kind.Revoke, 0, 0, l))),
        (2, Gen.Int[0, 8].Select(back => new Step(Kind.Compact, back, 0, 0))),
        (3, Gen.Int[1, 5].Select(budget => new Step(Kind.Maintain, budget, 0, 0))),
        (1, Gen.Const(new Step(Kind.Reload, 0, 0, 0))),
        (1, Gen.Const(new Step(Kind.Export, 0, 0, 0))));

    private enum Kind
    {
        Put,
        Delete,
        Both,

        /// <summary>A transaction whose deletion has no end ("\0") may put a key that it deletes; so may it after, or before.</summary>
        DeleteAndPutAgain,
        PutAndDelete,
        Grant,
        Revoke,
        Compact,
        Maintain,
        Reload,
        Export,
    }

    [Fact]
    public void Every_history_reads_as_the_model_says() => AnyStep.Array[1, 60].Sample(Run, iter: 500);

    /// <summary>A compaction frees everything that cannot be read: after all is deleted and compacted, nothing is held.</summary>
    [Fact]
    public void Nothing_is_left_of_what_was_deleted_and_compacted() => AnyStep.Array[1, 60].Sample(
        steps =>
        {
            using Pair pair = new();
            foreach (Step step in steps.Where(s => s.Kind is not (Kind.Grant or Kind.Revoke or Kind.Reload or Kind.Export)))
            {
                pair.Take(step);
            }

            pair.Store.BeginWrite();
            pair.Store.DeleteRange([0], [0], null);
            pair.Store.Put("end"u8, default, 0);
            pair.Store.EndWrite();
            pair.Store.BeginWrite();
            pair.Store.DeleteRange([0], [0], null);
            pair.Store.Put("end"u8, default, 0);
            pair.Store.EndWrite();
            Assert.Equal(RevisionStatus.Ok, pair.Store.Compact(pair.Store.Revision));
            while (pair.Store.Maintain(100))
            {
            }

            Assert.Equal(1, pair.Store.KeyCount);
        },
        iter: 150);

    private static void Run(Step[] steps)
    {
        using Pair pair = new();
        foreach (Step step in steps)
        {
            pair.Take(step);
        }

        pair.Compare();
    }

    private sealed record Step(Kind Kind, int A, int B, int Lease)
    {
        public override string ToString() => $"{Kind} {A} {B} {Lease}";
    }

    /// <summary>The store and its model, taking the same steps.</summary>
    private sealed class Pair : IDisposable
    {
        private readonly ModelStore _model = new();

        public MvccStore Store { get; private set; } = new();

        public void Dispose() => Store.Dispose();

        public void Take(Step step)
        {
            switch (step.Kind)
            {
                case Kind.Compact:
                    Compact(_model.Revision - step.A);
                    break;
                case Kind.Maintain:
                    Store.Maintain(step.A);
                    break;
                case Kind.Reload:
                    Replace(Reload(Store));
                    break;
                case Kind.Export:
                    Replace(Export(Store));
                    break;
                case Kind.Grant:
                    Assert.Equal(_model.Leases.TryAdd(step.Lease, 10), Store.Leases.Grant(step.Lease, 10, 0));
                    break;
                default:
                    Write(step);
                    break;
            }
        }

        public void Compare()
        {
            Assert.Equal(_model.Revision, Store.Revision);
            Assert.Equal(_model.CompactRevision, Store.CompactRevision);
            for (long revision = Math.Max(1, _model.CompactRevision); revision <= _model.Revision; revision++)
            {
                Assert.Equal(_model.At(revision).Values, Everything(revision));
            }

            foreach (long lease in _model.Leases.Keys)
            {
                IEnumerable<string> expected = _model.At(_model.Revision).Values.Where(p => p.Lease == lease).Select(p => p.Key);
                Assert.Equal(expected, Store.KeysOfLease(lease).Select(Encoding.ASCII.GetString));
            }

            CompareChanges();
            uint hash = StoreHash.Compute(Store, Store.Revision);
            using MvccStore again = Export(Store);
            Assert.Equal(hash, StoreHash.Compute(again, again.Revision));
            for (long revision = Math.Max(1, _model.CompactRevision); revision <= _model.Revision; revision += 5)
            {
                Assert.Equal(StoreHash.Compute(Store, revision), HashBitByBit(Store, revision));
            }
        }

        /// <summary>What a watcher that begins at the compaction reads, is what happened since.</summary>
        private void CompareChanges()
        {
            long from = Math.Max(_model.CompactRevision, 1);
            List<(long Revision, string Key, bool Deleted)> seen = [];
            for (long position = Store.PositionOf(from); position < Store.LogEnd; position++)
            {
                Assert.True(Store.ReadChange(position, out long revision, out RecordAddress address));
                seen.Add((revision, Encoding.ASCII.GetString(Store.Read(address).Key), address.IsTombstone));
            }

            // At the compacted revision itself, only what is still the state there must be left.
            Assert.Equal(_model.Changes.Where(c => c.Revision > from), seen.Where(c => c.Revision > from));
        }

        private List<ModelPair> Everything(long revision)
        {
            RangeResult result = new();
            Assert.Equal(RevisionStatus.Ok, Store.Range(new RangeQuery { Key = [0], End = [0], Revision = revision }, result));
            List<ModelPair> pairs = [];
            foreach (RecordAddress address in result.Records)
            {
                KeyValueRecord r = Store.Read(address);
                pairs.Add(new ModelPair(
                    Encoding.ASCII.GetString(r.Key), Encoding.ASCII.GetString(r.Value), r.CreateRevision, r.ModRevision, r.Version, r.Lease));
            }

            return pairs;
        }

        private void Compact(long revision)
        {
            bool isNothing = revision == 0 && _model.CompactRevision == 0;
            RevisionStatus expected = revision <= _model.CompactRevision && !isNothing ? RevisionStatus.Compacted : RevisionStatus.Ok;
            Assert.Equal(expected, Store.Compact(revision));
            if (expected == RevisionStatus.Ok)
            {
                _model.Compact(revision);
            }
        }

        private void Write(Step step)
        {
            string a = $"k{step.A:d2}";
            string b = $"k{step.B:d2}";
            long lease = Store.Leases.Contains(step.Lease) ? step.Lease : 0;
            Store.BeginWrite();
            _model.Begin();
            if (step.Kind == Kind.PutAndDelete)
            {
                Put(a, step.B, lease);
            }

            if (step.Kind is Kind.Delete or Kind.Both or Kind.DeleteAndPutAgain or Kind.PutAndDelete)
            {
                int gone = _model.Delete(k => string.CompareOrdinal(k, a) >= 0 && string.CompareOrdinal(k, b) < 0);
                Assert.Equal(gone, Store.DeleteRange(Bytes(a), Bytes(b), null));
            }

            if (step.Kind is Kind.Put or Kind.Both or Kind.DeleteAndPutAgain)
            {
                Put(step.Kind == Kind.Both ? b : a, step.B, lease);
            }

            if (step.Kind == Kind.Revoke && Store.RevokeLease(step.Lease))
            {
                _model.Revoke(step.Lease);
            }

            _model.End();
            Assert.Equal(_model.Revision, Store.EndWrite().Revision);
        }

        private void Put(string key, int size, long lease)
        {
            string value = new('v', size * size);
            Store.Put(Bytes(key), Bytes(value), lease);
            _model.Put(key, value, lease);
        }

        private void Replace(MvccStore store)
        {
            Store.Dispose();
            Store = store;
        }

        private static byte[] Bytes(string text) => Encoding.ASCII.GetBytes(text);

        /// <summary>Through a checkpoint.</summary>
        private static MvccStore Reload(MvccStore store)
        {
            using MemoryStream stream = new(CheckpointBytes.Of(store, piece: 50));
            MvccStore loaded = CheckpointLoader.Load(stream);
            Assert.Equal(stream.Length, stream.Position);
            return loaded;
        }

        private static uint HashBitByBit(MvccStore store, long revision)
        {
            StoreHash hash = store.BeginHash(revision);
            uint value = hash.Take(static work => work(), 40, CancellationToken.None);
            hash.End();
            return value;
        }

        /// <summary>Through the order of revisions, as a database has it.</summary>
        private static MvccStore Export(MvccStore store)
        {
            using RevisionSource source = store.BeginRevisions();
            using StoreBuilder builder = new();
            foreach (LeaseInfo lease in source.Leases)
            {
                builder.AddLease(lease.Id, lease.Ttl);
            }

            source.Find(static work => work(), 40, CancellationToken.None);
            void Take(RevisionKey key, in KeyValueRecord record) => builder.Add(key, record.Bytes);
            while (source.Next(Take, 50))
            {
            }

            source.End();
            return builder.Build(source.Revision, source.CompactRevision);
        }
    }
}
