using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.ServiceAccounts;

/// <summary>Every namespace holds the authority's certificate as config map kube-root-ca.crt (pkg/controller/certificates/rootcacertpublisher).</summary>
internal sealed class RootCaPublisher : IReconciler<ObjectKey>
{
    private const string MapName = "kube-root-ca.crt";
    private const string Description = "kubernetes.io/description";

    // A fact on the wire: what upstream writes into the annotation.
    private const string DescriptionText =
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or "
        + "kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

    private readonly KubeClient _client;
    private readonly Informer _namespaces;
    private readonly Informer _maps;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly string _rootCa;

    private RootCaPublisher(ControllerContext context)
    {
        _client = context.ClientFor("root-ca-cert-publisher");
        _rootCa = context.Options.RootCa;
        _namespaces = context.Informers.For(Resources.Namespaces);
        _maps = context.Informers.For(Resources.ConfigMaps, new InformerOptions { FieldSelector = "metadata.name=" + MapName });
        _queue = context.Queue();
        _namespaces.AddHandler(new InformerHandler { OnAdded = n => _queue.Add(n.Key), OnUpdated = (_, n) => _queue.Add(n.Key) });
        _maps.AddHandler(new InformerHandler
        {
            OnUpdated = (_, m) => _queue.Add(new ObjectKey("", m.Namespace)), OnDeleted = m => _queue.Add(new ObjectKey("", m.Namespace)),
        });
    }

    public string Name => "root-ca-certificate-publisher-controller";

    public static IController Create(ControllerContext context)
    {
        RootCaPublisher c = new(context);
        return new QueueController<ObjectKey>(c, c._queue, 1, [c._namespaces, c._maps], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_namespaces.Get(key) is not { } ns || ns.Status.Text("phase") == "Terminating" || ns.IsDeleting)
        {
            return ReconcileResult.Done;
        }

        ObjectKey mapKey = new(key.Name, MapName);
        try
        {
            if (_maps.Get(mapKey) is not { } map)
            {
                await _client.CreateAsync(Resources.ConfigMaps, key.Name, Make(key.Name), cancellation);
            }
            else if (!IsRight(map))
            {
                JsonObject changed = map.ToNode();
                changed["data"] = new JsonObject { ["ca.crt"] = _rootCa };
                changed.Child("metadata").Child("annotations")[Description] = DescriptionText;
                await _client.UpdateAsync(Resources.ConfigMaps, mapKey, changed, cancellation);
            }
        }
        catch (StatusException e) when (e.IsAlreadyExists || e.IsNotFound || PodControl.IsNamespaceTerminating(e))
        {
            // There already, or the namespace is going.
        }

        return ReconcileResult.Done;
    }

    private bool IsRight(KubeObject map)
    {
        IReadOnlyDictionary<string, string> data = map.Root.TextMap("data");
        return data.Count == 1 && data.GetValueOrDefault("ca.crt") == _rootCa && map.Annotations.ContainsKey(Description);
    }

    private JsonObject Make(string ns) => new()
    {
        ["apiVersion"] = "v1",
        ["kind"] = "ConfigMap",
        ["metadata"] = new JsonObject
        {
            ["name"] = MapName, ["namespace"] = ns, ["annotations"] = new JsonObject { [Description] = DescriptionText },
        },
        ["data"] = new JsonObject { ["ca.crt"] = _rootCa },
    };
}
