using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.ServiceAccounts;

/// <summary>
/// Fills secrets of type kubernetes.io/service-account-token with token, namespace and authority; deletes them when their account is gone,
/// and takes a deleted secret's name out of its account (pkg/controller/serviceaccount/tokens_controller.go). Makes no secret by itself,
/// as upstream since 1.24.
/// </summary>
internal sealed class TokenSecretController : IReconciler<ObjectKey>
{
    public const string AccountName = "kubernetes.io/service-account.name";
    public const string AccountUid = "kubernetes.io/service-account.uid";
    public const string SecretType = "kubernetes.io/service-account-token";
    private readonly KubeClient _client;
    private readonly Informer _accounts;
    private readonly Informer _secrets;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly TokenSigner _signer;
    private readonly byte[] _rootCa;

    private TokenSecretController(ControllerContext context, TokenSigner signer)
    {
        // Upstream runs this one with the process's own credentials: it makes those of the others.
        _client = context.RootClientFor("tokens-controller");
        _signer = signer;
        _rootCa = Encoding.UTF8.GetBytes(context.Options.RootCa);
        _accounts = context.Informers.For(Resources.ServiceAccounts);
        _secrets = context.Informers.For(Resources.Secrets, new InformerOptions { FieldSelector = "type=" + SecretType });
        _queue = context.Queue();
        _secrets.AddHandler(InformerHandler.ForAll(s => _queue.Add(s.Key)));
        _accounts.AddHandler(new InformerHandler { OnAdded = AddSecretsOf, OnUpdated = (_, a) => AddSecretsOf(a), OnDeleted = AddSecretsOf });
    }

    public string Name => "serviceaccount-token-controller";

    public static IController Create(ControllerContext context, TokenSigner signer)
    {
        TokenSecretController c = new(context, signer);
        return new QueueController<ObjectKey>(
            c, c._queue, context.Options.ConcurrentServiceAccountTokenSyncs, [c._accounts, c._secrets], context.LogFor(c.Name));
    }

    public async Task<ReconcileResult> ReconcileAsync(ObjectKey key, CancellationToken cancellation)
    {
        if (_secrets.Get(key) is not { } secret)
        {
            await RemoveReferencesAsync(key, cancellation);
            return ReconcileResult.Done;
        }

        string name = secret.Annotations.GetValueOrDefault(AccountName, "");
        if (name.Length == 0 || secret.IsDeleting)
        {
            return ReconcileResult.Done;
        }

        string uid = secret.Annotations.GetValueOrDefault(AccountUid, "");
        KubeObject? account = _accounts.Get(new ObjectKey(key.Namespace, name)) is { } cached && (uid.Length == 0 || cached.Uid == uid)
            ? cached
            : await LiveAccountAsync(new ObjectKey(key.Namespace, name), uid, cancellation);
        if (account is null)
        {
            await DeleteAsync(secret, cancellation);
        }
        else if (TokenSecret.Fill(secret, account, _rootCa, _signer) is { } filled)
        {
            await UpdateAsync(key, filled, cancellation);
        }

        return ReconcileResult.Done;
    }

    private async Task<KubeObject?> LiveAccountAsync(ObjectKey key, string uid, CancellationToken cancellation)
    {
        try
        {
            KubeObject account = await _client.GetAsync(Resources.ServiceAccounts, key, cancellation);
            return uid.Length == 0 || account.Uid == uid ? account : null;
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            return null;
        }
    }

    private async Task DeleteAsync(KubeObject secret, CancellationToken cancellation)
    {
        try
        {
            await _client.DeleteAsync(Resources.Secrets, secret.Key, new DeleteOptions { PreconditionUid = secret.Uid }, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound || e.IsConflict)
        {
            // Gone, or another secret by that name.
        }
    }

    private async Task UpdateAsync(ObjectKey key, JsonObject filled, CancellationToken cancellation)
    {
        try
        {
            await _client.UpdateAsync(Resources.Secrets, key, filled, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound || e.IsConflict)
        {
            // Gone or changed: the watch brings it again.
        }
    }

    private async Task RemoveReferencesAsync(ObjectKey secret, CancellationToken cancellation)
    {
        foreach (KubeObject account in _accounts.Store.List(secret.Namespace).Where(a => Names(a).Contains(secret.Name)))
        {
            JsonObject json = account.ToNode();
            JsonArray left = new([.. account.Root.Items("secrets").Where(s => s.Text("name") != secret.Name).Select(s => s.Node())]);
            json["secrets"] = left;
            try
            {
                await _client.UpdateAsync(Resources.ServiceAccounts, account.Key, json, cancellation);
            }
            catch (StatusException e) when (e.IsNotFound)
            {
                // The account went too.
            }
        }
    }

    private static IEnumerable<string> Names(KubeObject account) => account.Root.Items("secrets").Select(s => s.Text("name"));

    private void AddSecretsOf(KubeObject account)
    {
        foreach (KubeObject secret in _secrets.Store.List(account.Namespace).Where(s => s.Annotations.GetValueOrDefault(AccountName) == account.Name))
        {
            _queue.Add(secret.Key);
        }
    }
}

/// <summary>What a token secret must hold. A function of its arguments.</summary>
internal static class TokenSecret
{
    /// <summary>The secret with what it lacks, or null when it lacks nothing. A token that is there is never replaced.</summary>
    public static JsonObject? Fill(KubeObject secret, KubeObject account, byte[] rootCa, TokenSigner signer)
    {
        JsonElement data = secret.Root.Get("data");
        bool needsCa = rootCa.Length > 0 && data.Text("ca.crt") != Convert.ToBase64String(rootCa);
        bool needsNamespace = data.Text("namespace").Length == 0;
        bool needsToken = data.Text("token").Length == 0;
        if (!needsCa && !needsNamespace && !needsToken)
        {
            return null;
        }

        JsonObject json = secret.ToNode();
        JsonObject filled = json.Child("data");
        if (needsCa)
        {
            filled["ca.crt"] = Convert.ToBase64String(rootCa);
        }

        if (needsNamespace)
        {
            filled["namespace"] = Convert.ToBase64String(Encoding.UTF8.GetBytes(secret.Namespace));
        }

        if (needsToken)
        {
            filled["token"] = Convert.ToBase64String(Encoding.ASCII.GetBytes(signer.Sign(account, secret.Name)));
        }

        JsonObject annotations = json.Child("metadata").Child("annotations");
        annotations[TokenSecretController.AccountName] = account.Name;
        annotations[TokenSecretController.AccountUid] = account.Uid;
        return json;
    }
}
