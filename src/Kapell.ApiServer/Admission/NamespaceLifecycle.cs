using System.Collections.Concurrent;
using Kapell.ApiServer.Authentication;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Admission;

/// <summary>
/// No object without its namespace, none new in one that is ending, and three namespaces that never end
/// (upstream: apiserver/pkg/admission/plugin/namespace/lifecycle).
/// </summary>
/// <param name="readNamespace">From the store itself; null when there is none.</param>
internal sealed class NamespaceLifecycle(
    IObjectLookup objects, Func<ObjectKey, CancellationToken, Task<KubeObject?>> readNamespace, TimeProvider time) : IAdmission
{
    // Longer than memory lags behind the store. upstream: lifecycle/admission.go forceLiveLookupTTL
    private static readonly TimeSpan Doubtful = TimeSpan.FromSeconds(30);
    private static readonly string[] Immortal = ["default", "kube-system", "kube-public"];
    private static readonly GroupResource Namespaces = new("", "namespaces");

    /// <summary>Namespaces that somebody asked here to delete, and when: memory may not know of it yet.</summary>
    private readonly ConcurrentDictionary<string, long> _asked = new(StringComparer.Ordinal);

    public bool Handles(AdmissionRequest request) =>
        request.Operation is AdmissionOperation.Create or AdmissionOperation.Update or AdmissionOperation.Delete;

    public async ValueTask MutateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        if (AdmissionErrors.Is(request, "", "namespaces"))
        {
            if (request.Operation == AdmissionOperation.Delete && request.Subresource.Length == 0 && Immortal.Contains(request.Name))
            {
                throw new StatusException(Status.Forbidden(Namespaces, request.Name, "this namespace may not be deleted"));
            }

            if (request.Operation == AdmissionOperation.Delete)
            {
                Doubt(request.Name);
            }

            return;
        }

        if (request.Namespace.Length == 0 || request.Operation == AdmissionOperation.Delete)
        {
            return;
        }

        ObjectKey key = new("", request.Namespace);
        KubeObject? space = await objects.FindAsync("", "namespaces", key, cancel);
        if (space is null)
        {
            throw new StatusException(Status.NotFound(Namespaces, request.Namespace));
        }

        if (request.Operation != AdmissionOperation.Create || !(IsEnding(space) || IsDoubted(request.Namespace)))
        {
            return;
        }

        // Memory may lag behind a namespace that was deleted, or deleted and made again.
        space = await readNamespace(key, cancel);
        if (space is null)
        {
            throw new StatusException(Status.NotFound(Namespaces, request.Namespace));
        }

        if (IsEnding(space))
        {
            Status refusal = Status.Forbidden(
                request.Resource, AdmissionErrors.NameOf(request),
                $"unable to create new content in namespace {request.Namespace} because it is being terminated");
            throw new StatusException(refusal with
            {
                Causes = [new StatusCause("NamespaceTerminating", $"namespace {request.Namespace} is being terminated", "metadata.namespace")],
            });
        }
    }

    public ValueTask ValidateAsync(AdmissionRequest request, CancellationToken cancel) => ValueTask.CompletedTask;

    private void Doubt(string name)
    {
        foreach ((string old, long at) in _asked)
        {
            if (time.GetElapsedTime(at) > Doubtful)
            {
                _asked.TryRemove(KeyValuePair.Create(old, at));
            }
        }

        _asked[name] = time.GetTimestamp();
    }

    private bool IsDoubted(string name) => _asked.TryGetValue(name, out long at) && time.GetElapsedTime(at) <= Doubtful;

    private static bool IsEnding(KubeObject space) => space.Status.Text("phase") == "Terminating" || space.IsDeleting;
}
