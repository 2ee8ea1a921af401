using System.Globalization;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.ServiceAllocation;

/// <summary>
/// Fills addresses, families and node ports of a service on create and update and has them given back when it no longer needs
/// them (upstream: pkg/registry/core/service/storage alloc.go and storage.go).
/// </summary>
internal sealed class ServiceAdmission(ServiceAllocator allocator) : IAdmission
{
    private const string None = "None";

    public bool Handles(AdmissionRequest request) =>
        request.Definition is { Group: "", Plural: "services" } && request.Subresource.Length == 0 && request.Operation != AdmissionOperation.Connect;

    public async ValueTask MutateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        if (request.Operation == AdmissionOperation.Delete)
        {
            return;
        }

        JsonObject spec = request.Object!.ObjectOrNew("spec");
        JsonObject? old = request.OldObject.Object("spec");
        AlignAddresses(spec, old);
        if (old is not null)
        {
            KeepOld(spec, old);
        }

        List<Allocation> taken = [];
        request.OnFailure.Add(async stop =>
        {
            foreach (Allocation allocation in taken)
            {
                await allocator.ReleaseAsync(allocation, stop);
            }
        });
        HashSet<Allocation> held = request.OldObject is { } before ? [.. allocator.HeldBy(before)] : [];
        await TakeAddressesAsync(request, spec, held, taken, cancel);
        await TakePortsAsync(request, spec, held, taken, cancel);
    }

    public ValueTask ValidateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        if (request.DryRun || request.OldObject is not { } old)
        {
            return ValueTask.CompletedTask;
        }

        JsonObject? metadata = old.Object("metadata");
        ObjectKey key = new(request.Namespace, metadata.Text("name"));
        HashSet<Allocation> still = request.Object is { } now ? [.. allocator.HeldBy(now)] : [];
        Allocation[] free = [.. allocator.HeldBy(old).Where(a => !still.Contains(a))];
        if (free.Length > 0)
        {
            allocator.Releases.Expect(key, metadata.Text("uid"), free);
            request.OnFailure.Add(_ =>
            {
                allocator.Releases.Forget(key);
                return Task.CompletedTask;
            });
        }

        return ValueTask.CompletedTask;
    }

    /// <summary>clusterIP and clusterIPs[0] are one value; whichever the client changed leads (upstream: normalizeClusterIPs).</summary>
    private static void AlignAddresses(JsonObject spec, JsonObject? old)
    {
        string single = spec.Text("clusterIP");
        JsonArray? list = spec.Array("clusterIPs");
        if (old is null)
        {
            if (single.Length > 0 && list is not { Count: > 0 })
            {
                spec["clusterIPs"] = new JsonArray(single);
            }

            return;
        }

        bool sameList = JsonNode.DeepEquals(list, old.Array("clusterIPs"));
        if (single != old.Text("clusterIP") && sameList)
        {
            if (single.Length == 0)
            {
                spec.Remove("clusterIPs");
            }
            else
            {
                spec["clusterIPs"] = new JsonArray(single);
            }
        }
    }

    /// <summary>What an update leaves out stays as it was given (upstream: patchAllocatedValues).</summary>
    private static void KeepOld(JsonObject spec, JsonObject old)
    {
        if (NeedsAddress(spec) && NeedsAddress(old))
        {
            if (spec.Text("clusterIP").Length == 0 && spec.Array("clusterIPs") is not { Count: > 0 })
            {
                CopyIfAny(spec, old, "clusterIP", "clusterIPs");
            }

            foreach (string name in (string[])["ipFamilies", "ipFamilyPolicy"])
            {
                if (spec[name] is null)
                {
                    CopyIfAny(spec, old, name);
                }
            }
        }

        if (NeedsPorts(spec) && NeedsPorts(old))
        {
            foreach (JsonObject port in Ports(spec).Where(p => p.Long("nodePort") == 0))
            {
                JsonObject? same = Ports(old).FirstOrDefault(o => o.Long("port") == port.Long("port") && o.Text("protocol") == port.Text("protocol"));
                if (same?.Long("nodePort") is { } number and > 0 && Ports(spec).All(p => p.Long("nodePort") != number))
                {
                    port["nodePort"] = number;
                }
            }
        }

        if (NeedsHealthPort(spec) && NeedsHealthPort(old) && spec.Long("healthCheckNodePort") == 0)
        {
            CopyIfAny(spec, old, "healthCheckNodePort");
        }
    }

    private async Task TakeAddressesAsync(
        AdmissionRequest request, JsonObject spec, HashSet<Allocation> held, List<Allocation> taken, CancellationToken cancel)
    {
        if (!NeedsAddress(spec))
        {
            foreach (string name in (string[])["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"])
            {
                // An ExternalName service has no addresses; those it had before are dropped with the type.
                if (request.OldObject is null || JsonNode.DeepEquals(spec[name], request.OldObject.Object("spec")?[name]))
                {
                    spec.Remove(name);
                }
            }

            return;
        }

        string[] families = Families(request, spec);
        JsonArray addresses = spec.Array("clusterIPs") ?? [];
        if (addresses.Count > 0 && addresses[0].AsText() == None)
        {
            spec["clusterIP"] = None;
            return;
        }

        string[] chosen = [.. addresses.Select(a => a.AsText() ?? "")];
        string[] all = new string[families.Length];
        for (int i = 0; i < families.Length; i++)
        {
            RangeStore range = allocator.AddressesOf(families[i])!;
            string wanted = i < chosen.Length ? chosen[i] : "";
            if (wanted.Length > 0 && held.Contains(new Allocation(range.Range.Name, wanted)))
            {
                all[i] = wanted;
                continue;
            }

            all[i] = wanted.Length > 0
                ? await TakeAddressAsync(request, range, wanted, chosen, cancel)
                : await range.TakeAnyAsync(request.DryRun, cancel)
                    ?? throw new StatusException(Status.InternalError("failed to allocate a serviceIP: range is full"));
            if (!request.DryRun)
            {
                taken.Add(new Allocation(range.Range.Name, all[i]));
            }
        }

        spec["clusterIP"] = all[0];
        spec["clusterIPs"] = new JsonArray([.. all.Select(a => (JsonNode)a)]);
    }

    private static async Task<string> TakeAddressAsync(AdmissionRequest request, RangeStore range, string wanted, string[] chosen, CancellationToken cancel)
    {
        string? why = await range.TakeAsync(wanted, request.DryRun, cancel) switch
        {
            AllocationFault.Taken => "provided IP is already allocated",
            AllocationFault.NotInRange => $"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {range.Range.Text}",
            _ => null,
        };
        return why is null
            ? wanted
            : throw Invalid(request, FieldError.Invalid(
                FieldPath.New("spec", "clusterIPs"), new JsonArray([.. chosen.Select(c => (JsonNode)c)]), $"failed to allocate IP {wanted}: {why}"));
    }

    /// <summary>Fills and checks ipFamilies and ipFamilyPolicy (upstream: alloc.go initIPFamilyFields).</summary>
    private string[] Families(AdmissionRequest request, JsonObject spec)
    {
        string[] families = [.. (spec.Array("ipFamilies") ?? []).Select(f => f.AsText() ?? "")];
        string policy = spec.Text("ipFamilyPolicy");
        bool isDual = allocator.Addresses.Count > 1;
        bool headless = spec.Text("clusterIP") == None || spec.Array("clusterIPs") is { Count: > 0 } list && list[0].AsText() == None;
        bool selectorless = headless && spec.Object("selector") is not { Count: > 0 };
        string primary = allocator.Addresses[0].Range.Family;
        string other = primary == "IPv4" ? "IPv6" : "IPv4";
        if (!selectorless && families.FirstOrDefault(f => allocator.AddressesOf(f) is null) is { } missing)
        {
            throw Invalid(request, FieldError.Invalid(
                FieldPath.New("spec", "ipFamilies").Index(Array.IndexOf(families, missing)), missing, "not configured on this cluster"));
        }

        if (policy == "RequireDualStack" && !isDual && !selectorless)
        {
            throw Invalid(request, FieldError.Invalid(
                FieldPath.New("spec", "ipFamilyPolicy"), policy, "this cluster is not configured for dual-stack services"));
        }

        if (policy.Length == 0)
        {
            policy = selectorless || families.Length > 1 || spec.Array("clusterIPs") is { Count: > 1 } ? "RequireDualStack" : "SingleStack";
            spec["ipFamilyPolicy"] = policy;
        }

        if (families.Length == 0)
        {
            families = spec.Array("clusterIPs") is { Count: > 0 } given && !headless
                ? [.. given.Select(a => (a.AsText() ?? "").Contains(':', StringComparison.Ordinal) ? "IPv6" : "IPv4")]
                : [primary];
        }

        bool wantsTwo = policy == "RequireDualStack" || (policy == "PreferDualStack" && (isDual || selectorless));
        if (wantsTwo && families.Length == 1)
        {
            families = [families[0], families[0] == primary ? other : primary];
        }

        spec["ipFamilies"] = new JsonArray([.. families.Select(f => (JsonNode)f)]);
        string? unknown = headless ? null : families.FirstOrDefault(f => allocator.AddressesOf(f) is null);
        return unknown is null
            ? families
            : throw Invalid(request, FieldError.Invalid(
                FieldPath.New("spec", "clusterIPs"), spec.Array("clusterIPs")?.DeepClone(), $"failed to allocate IP: {unknown} is not configured on this cluster"));
    }

    private async Task TakePortsAsync(
        AdmissionRequest request, JsonObject spec, HashSet<Allocation> held, List<Allocation> taken, CancellationToken cancel)
    {
        string name = allocator.Ports.Range.Name;
        if (!NeedsPorts(spec))
        {
            JsonObject? old = request.OldObject.Object("spec");
            if (old is not null && NeedsPorts(old))
            {
                DropOldPorts(spec, old);
            }
        }
        else if (spec.Text("type") != "LoadBalancer" || spec.Bool("allocateLoadBalancerNodePorts", absent: true) || Ports(spec).Any(p => p.Long("nodePort") > 0))
        {
            bool giveAny = spec.Text("type") != "LoadBalancer" || spec.Bool("allocateLoadBalancerNodePorts", absent: true);
            JsonObject[] ports = [.. Ports(spec)];

            // Chosen ports first, so that no automatic choice takes one of them.
            foreach (int i in Enumerable.Range(0, ports.Length).OrderBy(i => ports[i].Long("nodePort") == 0))
            {
                long wanted = ports[i].Long("nodePort");
                if (wanted == 0 && !giveAny)
                {
                    continue;
                }

                FieldPath path = FieldPath.New("spec", "ports").Index(i).Child("nodePort");
                long number = await TakePortAsync(request, path, wanted, held, taken, cancel);
                ports[i]["nodePort"] = number;
                held.Add(new Allocation(name, number.ToString(CultureInfo.InvariantCulture)));
            }
        }

        if (NeedsHealthPort(spec))
        {
            spec["healthCheckNodePort"] = await TakePortAsync(
                request, FieldPath.New("spec", "healthCheckNodePort"), spec.Long("healthCheckNodePort"), held, taken, cancel);
        }
        else if (request.OldObject.Object("spec") is { } before && spec.Long("healthCheckNodePort") == before.Long("healthCheckNodePort"))
        {
            spec.Remove("healthCheckNodePort");
        }
    }

    private async Task<long> TakePortAsync(
        AdmissionRequest request, FieldPath path, long wanted, HashSet<Allocation> held, List<Allocation> taken, CancellationToken cancel)
    {
        RangeStore range = allocator.Ports;
        string text = wanted.ToString(CultureInfo.InvariantCulture);
        if (wanted > 0 && held.Contains(new Allocation(range.Range.Name, text)))
        {
            return wanted;
        }

        if (wanted == 0)
        {
            text = await range.TakeAnyAsync(request.DryRun, cancel)
                ?? throw new StatusException(Status.InternalError("failed to allocate a nodePort: range is full"));
        }
        else
        {
            string? why = await range.TakeAsync(text, request.DryRun, cancel) switch
            {
                AllocationFault.Taken => "provided port is already allocated",
                AllocationFault.NotInRange => $"provided port is not in the valid range. The range of valid ports is {range.Range.Text}",
                _ => null,
            };
            if (why is not null)
            {
                throw Invalid(request, FieldError.Invalid(path, wanted, why));
            }
        }

        if (!request.DryRun)
        {
            taken.Add(new Allocation(range.Range.Name, text));
        }

        return long.Parse(text, CultureInfo.InvariantCulture);
    }

    /// <summary>From NodePort back to ClusterIP: ports that were given, and not changed by the client, go.</summary>
    private static void DropOldPorts(JsonObject spec, JsonObject old)
    {
        HashSet<long> before = [.. Ports(old).Select(p => p.Long("nodePort"))];
        foreach (JsonObject port in Ports(spec).Where(p => before.Contains(p.Long("nodePort"))))
        {
            port.Remove("nodePort");
        }
    }

    private static StatusException Invalid(AdmissionRequest request, FieldError error) =>
        new(Status.Invalid(new GroupKind("", "Service"), request.Object.Object("metadata").Text("name"), [error]));

    private static bool NeedsAddress(JsonObject spec) => spec.Text("type") is "ClusterIP" or "NodePort" or "LoadBalancer" or "";

    private static bool NeedsPorts(JsonObject spec) => spec.Text("type") is "NodePort" or "LoadBalancer";

    private static bool NeedsHealthPort(JsonObject spec) => spec.Text("type") == "LoadBalancer" && spec.Text("externalTrafficPolicy") == "Local";

    private static IEnumerable<JsonObject> Ports(JsonObject spec) => (spec.Array("ports") ?? []).OfType<JsonObject>();

    private static void CopyIfAny(JsonObject spec, JsonObject old, params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
        {
            if (old[name] is { } value)
            {
                spec[name] = value.DeepClone();
            }
        }
    }
}
