using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Endpoints;

/// <summary>Keeps the old Endpoints object of every service with a selector (pkg/controller/endpoint).</summary>
internal sealed class EndpointsController : IReconciler<ObjectKey>
{
    private const string ManagedBy = "endpoints.kubernetes.io/managed-by";
    private const string Manager = "endpoint-controller";
    private const string Headless = "service.kubernetes.io/headless";
    private const int AddressesMax = 1000;
    private readonly KubeClient _client;
    private readonly Informer _endpoints;
    private readonly ServiceWatch _watch;
    private readonly WorkQueue<ObjectKey> _queue;

    private EndpointsController(ControllerContext context)
    {
        _client = context.ClientFor("endpoint-controller");
        _queue = context.Queue();
        _watch = new ServiceWatch(context.Informers, _queue);
        _endpoints = context.Informers.For(Resources.Endpoints);
        _endpoints.AddHandler(new InformerHandler { OnDeleted = e => _queue.Add(e.Key), OnAdded = e => _queue.Add(e.Key) });
    }

    public string Name => "endpoints-controller";

    public static IController Create(ControllerContext context)
    {
        EndpointsController c = new(context);
        return new QueueController<ObjectKey>(c, c._queue, context.Options.ConcurrentEndpointSyncs,
            [c._watch.Services, c._watch.Pods, c._endpoints], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        KubeObject? existing = _endpoints.Get(key);
        if (_watch.Services.Get(key) is not { } service)
        {
            // Only what this controller made: others keep Endpoints of services that never were (leader election of old, kubernetes.default).
            if (existing is not null && existing.Labels.GetValueOrDefault(ManagedBy) == Manager)
            {
                await DeleteAsync(existing, cancellation);
            }

            return ReconcileResult.Done;
        }

        if (_watch.PodsOf(service) is not { } pods)
        {
            return ReconcileResult.Done;
        }

        JsonArray subsets = Subsets(EndpointPlan.Of(service, pods, _ => ""), service);
        JsonObject labels = Documents.Map(service.Labels.Where(l => l.Key != Headless));
        labels[ManagedBy] = Manager;
        if (service.Spec.Text("clusterIP") == "None")
        {
            labels[Headless] = "";
        }

        if (existing is null)
        {
            await CreateAsync(service, subsets, labels, cancellation);
            return ReconcileResult.Done;
        }

        JsonObject json = existing.ToNode();
        if (JsonNode.DeepEquals(Documents.Canonical(json["subsets"]) ?? new JsonArray(), Documents.Canonical(subsets))
            && JsonNode.DeepEquals(json.Child("metadata")["labels"], labels))
        {
            return ReconcileResult.Done;
        }

        json["subsets"] = subsets;
        json.Child("metadata")["labels"] = labels;
        await _client.UpdateAsync(Resources.Endpoints, key, json, cancellation);
        return ReconcileResult.Done;
    }

    private async Task CreateAsync(KubeObject service, JsonArray subsets, JsonObject labels, CancellationToken cancellation)
    {
        JsonObject json = new()
        {
            ["apiVersion"] = "v1", ["kind"] = "Endpoints",
            ["metadata"] = new JsonObject { ["name"] = service.Name, ["namespace"] = service.Namespace, ["labels"] = labels },
            ["subsets"] = subsets,
        };
        try
        {
            await _client.CreateAsync(Resources.Endpoints, service.Namespace, json, cancellation);
        }
        catch (StatusException e) when (e.IsAlreadyExists || PodControl.IsNamespaceTerminating(e))
        {
            // The cache will show it, or everything here is going.
        }
    }

    private async Task DeleteAsync(KubeObject endpoints, CancellationToken cancellation)
    {
        try
        {
            await _client.DeleteAsync(Resources.Endpoints, endpoints.Key, new DeleteOptions { PreconditionUid = endpoints.Uid }, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            // Gone already.
        }
    }

    internal static JsonArray Subsets(IReadOnlyList<EndpointGroup> groups, KubeObject service)
    {
        // Endpoints know one family: the service's first.
        string family = service.Spec.Items("ipFamilies").Select(f => f.GetString()).FirstOrDefault() ?? "IPv4";
        JsonArray subsets = [];
        foreach (EndpointGroup group in groups.Where(g => g.Family == family))
        {
            // A terminating pod has no place here at all, ready or not.
            EndpointEntry[] live = [.. group.Endpoints.Where(e => !e.Terminating || e.Ready).Take(AddressesMax)];
            JsonObject subset = new();
            Add(subset, "addresses", live.Where(e => e.Ready));
            Add(subset, "notReadyAddresses", live.Where(e => !e.Ready));
            if (subset.Count == 0)
            {
                continue;
            }

            if (group.Ports.Count > 0)
            {
                subset["ports"] = new JsonArray([.. group.Ports.Select(Port)]);
            }

            subsets.Add((JsonNode)subset);
        }

        return subsets;
    }

    private static void Add(JsonObject subset, string field, IEnumerable<EndpointEntry> entries)
    {
        JsonArray addresses = [];
        foreach (EndpointEntry e in entries)
        {
            JsonObject address = new() { ["ip"] = e.Address, ["targetRef"] = EndpointPlan.TargetRef(e) };
            address.SetOrRemove("nodeName", e.Node);
            address.SetOrRemove("hostname", e.Hostname);
            addresses.Add((JsonNode)address);
        }

        if (addresses.Count > 0)
        {
            subset[field] = addresses;
        }
    }

    private static JsonNode? Port(EndpointPort p)
    {
        JsonObject json = new() { ["port"] = p.Number, ["protocol"] = p.Protocol };
        json.SetOrRemove("name", p.Name);
        json.SetOrRemove("appProtocol", p.AppProtocol);
        return json;
    }
}
