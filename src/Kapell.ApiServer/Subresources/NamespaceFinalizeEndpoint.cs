using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Subresources;

/// <summary>namespaces/finalize: the only way to change spec.finalizers; the last one gone ends a deleted namespace.</summary>
internal sealed class NamespaceFinalizeEndpoint(IObjectStore store, ResourceDefinition namespaces) : ISubresourceEndpoint
{
    public GroupResource Resource => namespaces.GroupResource;

    public string Subresource => "finalize";

    public EndpointDiscovery Discovery => new(
        namespaces.GroupVersionResource, "namespaces/finalize", "", false, namespaces.GroupVersionKind, ["update"]);

    public bool LongRunning(RequestInfo info) => false;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        if (info.Verb != "update")
        {
            throw new StatusException(Status.MethodNotSupported(Resource, info.Verb));
        }

        JsonObject wanted = await EndpointJson.ReadAsync(context, "v1", "Namespace", cancel);
        JsonObject? metadata = wanted.Object("metadata");
        Preconditions preconditions = new(
            metadata.Text("uid") is { Length: > 0 } uid ? uid : null,
            metadata.Text("resourceVersion") is { Length: > 0 } version ? version : null);
        JsonNode? finalizers = wanted.Object("spec")?["finalizers"];
        ObjectKey key = new("", info.Name);
        KubeObject written = await store.UpdateAsync(namespaces, key, preconditions, current =>
        {
            JsonObject spec = current.ObjectOrNew("spec");
            if (finalizers is JsonArray { Count: > 0 })
            {
                spec["finalizers"] = finalizers.DeepClone();
            }
            else
            {
                spec.Remove("finalizers");
            }

            return current;
        }, cancel);
        bool done = written.IsDeleting && !written.Spec.Items("finalizers").Any() && !written.Metadata.Items("finalizers").Any();
        if (done)
        {
            written = await store.DeleteAsync(namespaces, key, new Preconditions(Uid: written.Uid), cancel);
        }

        await EndpointJson.WriteAsync(context, StatusCodes.Status200OK, written.ToNode(), cancel);
    }
}
