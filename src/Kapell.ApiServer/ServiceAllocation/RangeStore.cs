using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Base;
using Kapell.Machinery;

namespace Kapell.ApiServer.ServiceAllocation;

/// <summary>Why a member could not be given out.</summary>
internal enum AllocationFault
{
    None,
    NotInRange,
    Taken,
    Full,
}

/// <summary>
/// Gives out members of one range. The decision is a compare-and-swap of the record at /registry/ranges, so any number of servers
/// agree and a crash leaves at most a member marked in use, which the repair finds.
/// </summary>
internal sealed class RangeStore(AllocationRange range, IObjectStore store, ulong seed)
{
    private static readonly ResourceDefinition Records = new()
    {
        Group = "", Version = "v1", Kind = "RangeAllocation", Plural = "rangeallocations", Singular = "rangeallocation", Namespaced = false,
        SchemaName = "io.k8s.api.core.v1.RangeAllocation", StorageKey = "ranges",
    };

    private readonly Prng _random = new(seed);

    public AllocationRange Range => range;

    /// <summary>Takes exactly this member.</summary>
    public async Task<AllocationFault> TakeAsync(string member, bool dryRun, CancellationToken cancel)
    {
        int offset = range.OffsetOf(member);
        if (offset < 0)
        {
            return AllocationFault.NotInRange;
        }

        AllocationFault fault = AllocationFault.None;
        await ChangeAsync(bits =>
        {
            fault = AllocationRange.IsSet(bits, offset) ? AllocationFault.Taken : AllocationFault.None;
            return fault == AllocationFault.None && !dryRun ? AllocationRange.With(bits, offset, true) : null;
        }, cancel);
        return fault;
    }

    /// <summary>Takes any free member, or none when the range is full.</summary>
    public async Task<string?> TakeAnyAsync(bool dryRun, CancellationToken cancel)
    {
        int start = Draw();
        int chosen = -1;
        await ChangeAsync(bits =>
        {
            chosen = FirstFree(bits, start);
            return chosen >= 0 && !dryRun ? AllocationRange.With(bits, chosen, true) : null;
        }, cancel);
        return chosen < 0 ? null : range.MemberAt(chosen);
    }

    public async Task GiveBackAsync(string member, CancellationToken cancel)
    {
        int offset = range.OffsetOf(member);
        if (offset >= 0)
        {
            await ChangeAsync(bits => AllocationRange.IsSet(bits, offset) ? AllocationRange.With(bits, offset, false) : null, cancel);
        }
    }

    /// <summary>The members marked in use.</summary>
    public async Task<HashSet<string>> InUseAsync(CancellationToken cancel)
    {
        HashSet<string> used = new(StringComparer.Ordinal);
        await ChangeAsync(bits =>
        {
            used.Clear();
            used.UnionWith(Enumerable.Range(0, range.Size).Where(i => AllocationRange.IsSet(bits, i)).Select(range.MemberAt));
            return null;
        }, cancel);
        return used;
    }

    private int Draw()
    {
        lock (_random)
        {
            return range.StaticBand + (int)_random.NextBelow((ulong)(range.Size - range.StaticBand));
        }
    }

    /// <summary>From a random place in the upper band, around it, then in the lower band.</summary>
    private int FirstFree(byte[] bits, int start)
    {
        int band = range.StaticBand;
        int upper = range.Size - band;
        for (int i = 0; i < upper; i++)
        {
            int offset = band + ((start - band + i) % upper);
            if (!AllocationRange.IsSet(bits, offset))
            {
                return offset;
            }
        }

        for (int offset = 0; offset < band; offset++)
        {
            if (!AllocationRange.IsSet(bits, offset))
            {
                return offset;
            }
        }

        return -1;
    }

    private async Task ChangeAsync(Func<byte[], byte[]?> change, CancellationToken cancel)
    {
        ObjectKey key = new("", range.Name);
        while (true)
        {
            try
            {
                await store.UpdateAsync(Records, key, null, record => Apply(record, change), cancel);
                return;
            }
            catch (StatusException e) when (e.IsNotFound)
            {
                await CreateAsync(cancel);
            }
        }
    }

    private JsonObject? Apply(JsonObject record, Func<byte[], byte[]?> change)
    {
        // After a change of the flag the old bitmap means nothing: the repair fills it from the services.
        bool same = record.Text("range") == range.Text;
        byte[] bits = same ? AllocationRange.BitsOf(record) : [];
        byte[]? changed = change(bits);
        if (changed is null)
        {
            return null;
        }

        range.Put(record, changed);
        return record;
    }

    private async Task CreateAsync(CancellationToken cancel)
    {
        try
        {
            await store.CreateAsync(Records, range.NewRecord(), cancel);
        }
        catch (StatusException e) when (e.IsAlreadyExists)
        {
            // Another server of this cluster was faster.
        }
    }
}
