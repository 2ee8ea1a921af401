using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Endpoints;

/// <summary>Keeps the EndpointSlices of every service with a selector (pkg/controller/endpointslice).</summary>
internal sealed class EndpointSliceController : IReconciler<ObjectKey>
{
    private const string ServiceIndex = "service";
    private readonly KubeClient _client;
    private readonly Informer _slices;
    private readonly Informer _nodes;
    private readonly ServiceWatch _watch;
    private readonly WorkQueue<ObjectKey> _queue;

    private EndpointSliceController(ControllerContext context)
    {
        _client = context.ClientFor("endpointslice-controller");
        _queue = context.Queue();
        _watch = new ServiceWatch(context.Informers, _queue);
        _nodes = context.Informers.For(Resources.Nodes);
        _slices = context.Informers.For(Resources.EndpointSlices);
        _slices.AddIndex(ServiceIndex, s => ServiceOf(s) is { } key ? [key.ToString()] : []);
        _slices.AddHandler(new InformerHandler
        {
            OnUpdated = (_, s) => Add(s), OnDeleted = Add,
            OnAdded = s =>
            {
                // A slice whose service is gone, or that we made and forgot, is seen here after a restart.
                Add(s);
            },
        });
    }

    public string Name => "endpointslice-controller";

    public static IController Create(ControllerContext context)
    {
        EndpointSliceController c = new(context);
        return new QueueController<ObjectKey>(c, c._queue, context.Options.ConcurrentServiceEndpointSyncs,
            [c._watch.Services, c._watch.Pods, c._slices, c._nodes], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        KubeObject? service = _watch.Services.Get(key);
        IReadOnlyList<KubeObject> slices = [.. _slices.Store.ByIndex(ServiceIndex, key.ToString())];
        IReadOnlyList<KubeObject>? pods = service is null || service.IsDeleting ? null : _watch.PodsOf(service);
        if (service is null || pods is null)
        {
            // The service is gone or selects nothing any more; with it gone the garbage collector would do the same, later.
            foreach (KubeObject slice in service is { IsDeleting: true } ? [] : slices)
            {
                await DeleteAsync(slice, cancellation);
            }

            return ReconcileResult.Done;
        }

        SliceChanges changes = SlicePlan.Changes(service, EndpointPlan.Of(service, pods, ZoneOf), slices);
        foreach (JsonObject slice in changes.Create)
        {
            await CreateAsync(service, slice, cancellation);
        }

        foreach ((ObjectKey sliceKey, JsonObject slice) in changes.Update)
        {
            await _client.UpdateAsync(Resources.EndpointSlices, sliceKey, slice, cancellation);
        }

        foreach (KubeObject slice in changes.Delete)
        {
            await DeleteAsync(slice, cancellation);
        }

        return ReconcileResult.Done;
    }

    private async Task CreateAsync(KubeObject service, JsonObject slice, CancellationToken cancellation)
    {
        try
        {
            await _client.CreateAsync(Resources.EndpointSlices, service.Namespace, slice, cancellation);
        }
        catch (StatusException e) when (PodControl.IsNamespaceTerminating(e))
        {
            // Going with its namespace.
        }
    }

    private async Task DeleteAsync(KubeObject slice, CancellationToken cancellation)
    {
        try
        {
            await _client.DeleteAsync(Resources.EndpointSlices, slice.Key, new DeleteOptions { PreconditionUid = slice.Uid }, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            // Gone already.
        }
    }

    private string ZoneOf(string node) => _nodes.Get(new ObjectKey("", node))?.Labels.GetValueOrDefault("topology.kubernetes.io/zone") ?? "";

    private void Add(KubeObject slice)
    {
        if (ServiceOf(slice) is { } key)
        {
            _queue.Add(key);
        }
    }

    private static ObjectKey? ServiceOf(KubeObject slice) =>
        slice.Labels.GetValueOrDefault(SlicePlan.ManagedBy) == SlicePlan.Manager && slice.Labels.TryGetValue(SlicePlan.ServiceName, out string? name)
            ? new ObjectKey(slice.Namespace, name) : null;
}
