using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.ServiceAccounts;

/// <summary>Every active namespace has a service account "default" (pkg/controller/serviceaccount/serviceaccounts_controller.go).</summary>
internal sealed class DefaultServiceAccountController : IReconciler<ObjectKey>
{
    private const string AccountName = "default";
    private readonly KubeClient _client;
    private readonly Informer _namespaces;
    private readonly Informer _accounts;
    private readonly WorkQueue<ObjectKey> _queue;

    private DefaultServiceAccountController(ControllerContext context)
    {
        _client = context.ClientFor("service-account-controller");
        _namespaces = context.Informers.For(Resources.Namespaces);
        _accounts = context.Informers.For(Resources.ServiceAccounts);
        _queue = context.Queue();
        _namespaces.AddHandler(new InformerHandler { OnAdded = n => _queue.Add(n.Key), OnUpdated = (_, n) => _queue.Add(n.Key) });
        _accounts.AddHandler(new InformerHandler
        {
            OnDeleted = a =>
            {
                if (a.Name == AccountName)
                {
                    _queue.Add(new ObjectKey("", a.Namespace));
                }
            },
        });
    }

    public string Name => "service-account-controller";

    public static IController Create(ControllerContext context)
    {
        DefaultServiceAccountController c = new(context);
        return new QueueController<ObjectKey>(c, c._queue, 1, [c._namespaces, c._accounts], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_namespaces.Get(key) is not { } ns || ns.Status.Text("phase") == "Terminating" || ns.IsDeleting
            || _accounts.Get(new ObjectKey(key.Name, AccountName)) is not null)
        {
            return ReconcileResult.Done;
        }

        JsonObject account = new()
        {
            ["apiVersion"] = "v1", ["kind"] = "ServiceAccount",
            ["metadata"] = new JsonObject { ["name"] = AccountName, ["namespace"] = key.Name },
        };
        try
        {
            await _client.CreateAsync(Resources.ServiceAccounts, key.Name, account, cancellation);
        }
        catch (StatusException e) when (e.IsAlreadyExists || e.IsNotFound || PodControl.IsNamespaceTerminating(e))
        {
            // There already, or the namespace is going: nothing to make.
        }

        return ReconcileResult.Done;
    }
}
