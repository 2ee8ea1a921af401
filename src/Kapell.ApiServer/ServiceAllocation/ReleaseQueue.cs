using System.Collections.Concurrent;
using System.Threading.Channels;
using Kapell.Machinery;

namespace Kapell.ApiServer.ServiceAllocation;

/// <summary>
/// Members to be given back once the store shows that their service no longer holds them. Only the server that handled the delete
/// or update does this, so no member is given back twice; what a crash loses, the repair finds.
/// </summary>
internal sealed class ReleaseQueue(Func<KubeObject, IEnumerable<Allocation>> heldBy, Func<Allocation, CancellationToken, Task> release)
{
    private const int WaitingMax = 10_000;

    private readonly ConcurrentDictionary<ObjectKey, Waiting> _waiting = new();
    private readonly Channel<Allocation> _ready = Channel.CreateBounded<Allocation>(
        new BoundedChannelOptions(WaitingMax) { FullMode = BoundedChannelFullMode.DropWrite });

    /// <summary>Beyond the limit members are left to the repair.</summary>
    public void Expect(ObjectKey service, string uid, IReadOnlyList<Allocation> allocations)
    {
        if (allocations.Count > 0 && _waiting.Count < WaitingMax)
        {
            _waiting[service] = new Waiting(uid, allocations);
        }
    }

    public void Forget(ObjectKey service) => _waiting.TryRemove(service, out _);

    /// <summary>The service was written: what it no longer holds is free.</summary>
    public void Seen(KubeObject service)
    {
        if (!_waiting.TryGetValue(service.Key, out Waiting? waiting))
        {
            return;
        }

        HashSet<Allocation> held = waiting.Uid == service.Uid ? [.. heldBy(service)] : [];
        Allocation[] free = [.. waiting.Allocations.Where(a => !held.Contains(a))];
        if (free.Length > 0 && _waiting.TryRemove(service.Key, out _))
        {
            Array.ForEach(free, a => _ready.Writer.TryWrite(a));
        }
    }

    /// <summary>The service is gone: all of it is free.</summary>
    public void Gone(ObjectKey service)
    {
        if (_waiting.TryRemove(service, out Waiting? waiting))
        {
            foreach (Allocation allocation in waiting.Allocations)
            {
                _ready.Writer.TryWrite(allocation);
            }
        }
    }

    public async Task RunAsync(CancellationToken cancel)
    {
        await foreach (Allocation allocation in _ready.Reader.ReadAllAsync(cancel))
        {
            await release(allocation, cancel);
        }
    }

    private sealed record Waiting(string Uid, IReadOnlyList<Allocation> Allocations);
}

/// <summary>One member of one range held by a service.</summary>
internal readonly record struct Allocation(string Range, string Member);
