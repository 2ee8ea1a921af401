using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Base;
using Kapell.Machinery;

namespace Kapell.ApiServer.ServiceAllocation;

/// <summary>The ranges of one cluster (addresses by family, node ports), their release and their repair.</summary>
internal sealed class ServiceAllocator
{
    private static readonly TimeSpan RepairEvery = TimeSpan.FromMinutes(3);

    private readonly IObjectStore _store;
    private readonly ResourceDefinition _services;
    private readonly TimeProvider _time;

    public ServiceAllocator(IObjectStore store, ResourceDefinition services, ServerOptions options, ulong seed, TimeProvider time)
    {
        _store = store;
        _services = services;
        _time = time;
        Prng random = new(seed);
        string[] cidrs = options.ServiceClusterIpRange.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        Addresses = [.. cidrs.Select((cidr, i) => new RangeStore(
            AllocationRange.OfAddresses(i == 0 ? "serviceips" : "secondaryserviceips", cidr), store, random.NextUInt64()))];
        Ports = new RangeStore(AllocationRange.OfPorts("servicenodeports", options.ServiceNodePortRange), store, random.NextUInt64());
        Releases = new ReleaseQueue(s => HeldBy(s.Spec), ReleaseAsync);
    }

    /// <summary>The first is the cluster's primary family.</summary>
    public IReadOnlyList<RangeStore> Addresses { get; }

    public RangeStore Ports { get; }

    public ReleaseQueue Releases { get; }

    /// <summary>The address of default/kubernetes: the first of the primary range.</summary>
    public string FirstAddress => Addresses[0].Range.MemberAt(0);

    public RangeStore? AddressesOf(string family) => Addresses.FirstOrDefault(a => a.Range.Family == family);

    public IEnumerable<Allocation> HeldBy(JsonElement spec)
    {
        foreach (string address in AddressTexts(spec))
        {
            if (Addresses.FirstOrDefault(a => a.Range.OffsetOf(address) >= 0) is { } range)
            {
                yield return new Allocation(range.Range.Name, address);
            }
        }

        foreach (long port in spec.Items("ports").Select(p => p.Long("nodePort")).Append(spec.Long("healthCheckNodePort")).Where(p => p > 0).Distinct())
        {
            yield return new Allocation(Ports.Range.Name, port.ToString(CultureInfo.InvariantCulture));
        }
    }

    public IEnumerable<Allocation> HeldBy(JsonObject service) => HeldBy(KubeObject.From(service).Spec);

    public Task ReleaseAsync(Allocation allocation, CancellationToken cancel) =>
        Addresses.Append(Ports).First(r => r.Range.Name == allocation.Range).GiveBackAsync(allocation.Member, cancel);

    /// <summary>Makes the records agree with the services: at start, then every few minutes (upstream: service repair controllers).</summary>
    public async Task RepairForEverAsync(CancellationToken cancel)
    {
        HashSet<Allocation> suspects = [];
        while (true)
        {
            suspects = await RepairAsync(suspects, cancel);
            await Task.Delay(RepairEvery, _time, cancel);
        }
    }

    /// <summary>
    /// Marks what services hold; gives back what no service held in two rounds, since a service just being made takes its members
    /// before it exists. Returns the suspects of this round.
    /// </summary>
    internal async Task<HashSet<Allocation>> RepairAsync(HashSet<Allocation> suspects, CancellationToken cancel)
    {
        HashSet<Allocation> marked = [];
        foreach (RangeStore range in Addresses.Append(Ports))
        {
            marked.UnionWith((await range.InUseAsync(cancel)).Select(m => new Allocation(range.Range.Name, m)));
        }

        // Read after the marks: whatever was taken and stored before is then seen here.
        ObjectList list = await _store.ListAsync(_services, "", cancel);
        HashSet<Allocation> held = [.. list.Items.SelectMany(s => HeldBy(s.Spec))];
        foreach (Allocation missing in held.Except(marked).ToArray())
        {
            RangeStore range = Addresses.Append(Ports).First(r => r.Range.Name == missing.Range);
            await range.TakeAsync(missing.Member, dryRun: false, cancel);
        }

        HashSet<Allocation> leaked = [.. marked.Except(held)];
        foreach (Allocation lost in leaked.Intersect(suspects).ToArray())
        {
            await ReleaseAsync(lost, cancel);
            leaked.Remove(lost);
        }

        return leaked;
    }

    private static string[] AddressTexts(JsonElement spec)
    {
        string[] all = [.. spec.Items("clusterIPs").Where(i => i.ValueKind == JsonValueKind.String).Select(i => i.GetString()!)];
        all = all.Length > 0 ? all : [spec.Text("clusterIP")];
        return [.. all.Where(a => a.Length > 0 && a != "None")];
    }
}
