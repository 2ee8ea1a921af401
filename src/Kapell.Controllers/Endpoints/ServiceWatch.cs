using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Endpoints;

/// <summary>Puts a service in a queue when it, or a pod that it selects or selected, changes. Shared by both endpoint controllers.</summary>
internal sealed class ServiceWatch
{
    private const string NamespaceIndex = "namespace";

    public ServiceWatch(InformerFactory informers, WorkQueue<ObjectKey> queue)
    {
        Services = informers.For(Resources.Services);
        Pods = informers.For(Resources.Pods);
        Services.AddIndex(NamespaceIndex, s => [s.Namespace]);
        Pods.AddIndex(NamespaceIndex, p => [p.Namespace]);
        Services.AddHandler(InformerHandler.ForAll(s => queue.Add(s.Key)));
        Pods.AddHandler(new InformerHandler
        {
            OnAdded = p => AddServices(queue, p, p),
            OnDeleted = p => AddServices(queue, p, p),
            OnUpdated = (old, now) =>
            {
                if (Matters(old, now))
                {
                    AddServices(queue, old, now);
                }
            },
        });
    }

    public Informer Services { get; }

    public Informer Pods { get; }

    /// <summary>The pods a service selects; null when it selects none by itself (no selector: its endpoints are its owner's business).</summary>
    public IReadOnlyList<KubeObject>? PodsOf(KubeObject service)
    {
        IReadOnlyDictionary<string, string> selector = service.Spec.TextMap("selector");
        if (selector.Count == 0 || service.Spec.Text("type") == "ExternalName")
        {
            return null;
        }

        LabelMatch match = LabelMatch.OfMap(selector);
        return [.. Pods.Store.ByIndex(NamespaceIndex, service.Namespace).Where(p => match.Matches(p.Labels))];
    }

    private void AddServices(WorkQueue<ObjectKey> queue, KubeObject old, KubeObject now)
    {
        foreach (KubeObject service in Services.Store.ByIndex(NamespaceIndex, now.Namespace))
        {
            IReadOnlyDictionary<string, string> selector = service.Spec.TextMap("selector");
            if (selector.Count > 0 && (LabelMatch.OfMap(selector).Matches(now.Labels) || LabelMatch.OfMap(selector).Matches(old.Labels)))
            {
                queue.Add(service.Key);
            }
        }
    }

    // Heartbeats of containers change nothing for endpoints (endpoint/controller_utils.go: podEndpointsChanged).
    private static bool Matters(KubeObject old, KubeObject now) =>
        old.IsDeleting != now.IsDeleting || old.IsReady() != now.IsReady() || old.IsFinished() != now.IsFinished()
        || old.NodeName() != now.NodeName() || old.Status.Text("podIP") != now.Status.Text("podIP")
        || old.Status.Get("podIPs").ToString() != now.Status.Get("podIPs").ToString()
        || old.Metadata.Get("labels").ToString() != now.Metadata.Get("labels").ToString();
}
