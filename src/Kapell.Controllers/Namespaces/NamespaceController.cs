using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Namespaces;

/// <summary>
/// Empties a namespace that is being deleted, then lets it go (pkg/controller/namespace). Pods go first and everything else waits for
/// them (KEP-5080): a pod must not run on while the policies and secrets around it are already gone.
/// </summary>
internal sealed class NamespaceController : IReconciler<ObjectKey>
{
    private const string Finalizer = "kubernetes";

    // Lets every API server see the deletion before its content goes, or something could be made behind our back (upstream: 5 s).
    private static readonly TimeSpan DeletionDelay = TimeSpan.FromSeconds(1);
    private readonly KubeClient _client;
    private readonly Informer _namespaces;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly TimeProvider _time;

    private NamespaceController(ControllerContext context)
    {
        _client = context.ClientFor("namespace-controller");
        _time = context.Time;
        _namespaces = context.Informers.For(Resources.Namespaces);
        _queue = context.Queue();
        _namespaces.AddHandler(new InformerHandler { OnAdded = Consider, OnUpdated = (_, ns) => Consider(ns) });
    }

    public string Name => "namespace-controller";

    public static IController Create(ControllerContext context)
    {
        NamespaceController c = new(context);
        return new QueueController<ObjectKey>(c, c._queue, context.Options.ConcurrentNamespaceSyncs, [c._namespaces], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_namespaces.Get(key) is null)
        {
            return ReconcileResult.Done;
        }

        KubeObject ns;
        try
        {
            ns = await _client.GetAsync(Resources.Namespaces, key, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            return ReconcileResult.Done;
        }

        if (!ns.IsDeleting || !ns.Spec.Items("finalizers").Any(f => f.GetString() == Finalizer))
        {
            return ReconcileResult.Done;
        }

        NamespaceContent content = await DeleteContentAsync(key.Name, cancellation);
        await UpdateStatusAsync(ns, content, cancellation);
        if (content.Errors.Count > 0 || content.DiscoveryFailures.Count > 0)
        {
            throw new StatusException(Status.InternalError(string.Join("; ", content.DiscoveryFailures.Concat(content.Errors).Take(5))));
        }

        if (content.Remaining.Count > 0)
        {
            // Half the longest grace period of what is left, and a bit (namespace_controller.go: ResourcesRemainingError).
            return ReconcileResult.After(TimeSpan.FromSeconds(Math.Min(15, (content.GraceSeconds / 2) + 1)));
        }

        await FinalizeAsync(key, cancellation);
        return ReconcileResult.Done;
    }

    private void Consider(KubeObject ns)
    {
        if (ns.IsDeleting)
        {
            _queue.AddAfter(ns.Key, DeletionDelay);
        }
    }

    private async Task<NamespaceContent> DeleteContentAsync(string ns, CancellationToken cancellation)
    {
        NamespaceContent content = new();
        Discovered discovered = await Discovery.PreferredAsync(_client, cancellation);
        content.DiscoveryFailures.AddRange(discovered.Failures);
        ApiResource[] deletable = [.. discovered.Resources.Where(r => r.Namespaced && r.Verbs.Contains("delete") && r.Verbs.Contains("list"))];
        await DeleteOneAsync(new ApiResource(Resources.Pods, "Pod", true, new HashSet<string> { "delete", "list", "deletecollection" }), ns, content, cancellation);
        if (content.Remaining.Count > 0 || content.Errors.Count > 0)
        {
            return content;
        }

        foreach (ApiResource resource in deletable)
        {
            // events.k8s.io holds the same objects as the core group.
            if (resource.Resource != Resources.Pods && resource.Resource != Resources.EventsV1)
            {
                await DeleteOneAsync(resource, ns, content, cancellation);
            }
        }

        return content;
    }

    private async Task DeleteOneAsync(ApiResource resource, string ns, NamespaceContent content, CancellationToken cancellation)
    {
        try
        {
            KubeList present = await _client.ListAsync(resource.Resource, ns, new ListOptions { MetadataOnly = resource.Resource != Resources.Pods }, cancellation);
            if (present.Items.Count == 0)
            {
                return;
            }

            DeleteOptions options = new() { PropagationPolicy = "Background" };
            if (resource.Verbs.Contains("deletecollection"))
            {
                await _client.DeleteCollectionAsync(resource.Resource, ns, options, ListOptions.None, cancellation);
            }
            else
            {
                foreach (KubeObject o in present.Items.Where(o => !o.IsDeleting))
                {
                    await DeleteObjectAsync(resource.Resource, o, options, cancellation);
                }
            }

            KubeList left = await _client.ListAsync(resource.Resource, ns, new ListOptions { MetadataOnly = resource.Resource != Resources.Pods }, cancellation);
            content.AddRemaining(resource, left.Items);
        }
        catch (StatusException e) when (e.IsNotFound || e.Code == 405)
        {
            // The resource has gone since discovery, or cannot be listed or deleted: it holds nothing for us.
        }
        catch (StatusException e)
        {
            content.Errors.Add(e.Message);
        }
    }

    private async Task DeleteObjectAsync(GroupVersionResource resource, KubeObject o, DeleteOptions options, CancellationToken cancellation)
    {
        try
        {
            await _client.DeleteAsync(resource, o.Key, options, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            // Someone else was quicker.
        }
    }

    private async Task UpdateStatusAsync(KubeObject ns, NamespaceContent content, CancellationToken cancellation)
    {
        JsonObject json = ns.ToNode();
        JsonObject status = json.Child("status");
        JsonNode before = status.DeepClone();
        status["phase"] = "Terminating";
        content.WriteConditions(status, _time.GetUtcNow());
        if (JsonNode.DeepEquals(before, status))
        {
            return;
        }

        try
        {
            await _client.UpdateStatusAsync(Resources.Namespaces, ns.Key, json, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            // Gone already.
        }
    }

    private async Task FinalizeAsync(ObjectKey key, CancellationToken cancellation)
    {
        try
        {
            KubeObject fresh = await _client.GetAsync(Resources.Namespaces, key, cancellation);
            JsonObject json = fresh.ToNode();
            json.Child("spec")["finalizers"] = new JsonArray(
                [.. fresh.Spec.Items("finalizers").Select(f => f.GetString()).Where(f => f != Finalizer).Select(f => (JsonNode?)f)]);
            await _client.UpdateAsync(Resources.Namespaces, key, json, RequestOptions.For("finalize"), cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            // Gone already.
        }
    }
}
