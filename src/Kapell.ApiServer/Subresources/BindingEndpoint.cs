using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Subresources;

/// <summary>pods/binding and the older bindings: puts a pod on a node, once (upstream: pkg/registry/core/pod/storage BindingREST).</summary>
internal sealed class BindingEndpoint(IObjectStore store, ResourceDefinition pods, bool isSubresource, TimeProvider time) : ISubresourceEndpoint
{
    public GroupResource Resource => isSubresource ? pods.GroupResource : new GroupResource("", "bindings");

    public string Subresource => isSubresource ? "binding" : "";

    public EndpointDiscovery Discovery => new(
        new GroupVersionResource("", "v1", isSubresource ? "pods" : "bindings"), isSubresource ? "pods/binding" : "bindings",
        isSubresource ? "" : "binding", true, new GroupVersionKind("", "v1", "Binding"), ["create"]);

    public bool LongRunning(RequestInfo info) => false;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        if (info.Verb != "create")
        {
            throw new StatusException(Status.MethodNotSupported(Resource, info.Verb));
        }

        JsonObject binding = await EndpointJson.ReadAsync(context, "v1", "Binding", cancel);
        JsonObject metadata = binding.ObjectOrNew("metadata");
        string name = isSubresource ? info.Name : metadata.Text("name");
        if (isSubresource && metadata.Text("name") is { Length: > 0 } own && own != name)
        {
            throw new StatusException(Status.BadRequest("name in URL does not match name in Binding object"));
        }

        JsonObject target = binding.ObjectOrNew("target");
        Validate(name, target);
        string uid = metadata.Text("uid");
        string version = metadata.Text("resourceVersion");
        Preconditions? preconditions = uid.Length + version.Length == 0
            ? null
            : new Preconditions(uid.Length > 0 ? uid : null, version.Length > 0 ? version : null);
        bool dryRun = context.Request.Query["dryRun"].Count > 0;
        await store.UpdateAsync(pods, new ObjectKey(info.Namespace, name), preconditions, pod =>
        {
            Assign(pod, name, target.Text("name"), metadata);
            return dryRun ? null : pod;
        }, cancel);
        await EndpointJson.WriteSuccessAsync(context, cancel);
    }

    internal void Assign(JsonObject pod, string name, string node, JsonObject bindingMetadata)
    {
        GroupResource resource = new("", "pods/binding");
        JsonObject spec = pod.ObjectOrNew("spec");
        if (pod.Object("metadata").Text("deletionTimestamp").Length > 0)
        {
            throw new StatusException(Status.Conflict(resource, name, $"pod {name} is being deleted, cannot be assigned to a host"));
        }

        if (spec.Text("nodeName") is { Length: > 0 } before)
        {
            throw new StatusException(Status.Conflict(resource, name, $"pod {name} is already assigned to node \"{before}\""));
        }

        if (spec.Array("schedulingGates") is { Count: > 0 })
        {
            throw new StatusException(Status.Conflict(resource, name, $"pod {name} has non-empty .spec.schedulingGates"));
        }

        spec["nodeName"] = node;
        foreach (string map in (string[])["annotations", "labels"])
        {
            foreach ((string key, JsonNode? value) in bindingMetadata.Object(map) ?? [])
            {
                pod.ObjectOrNew("metadata").ObjectOrNew(map)[key] = value?.DeepClone();
            }
        }

        MarkScheduled(pod.ObjectOrNew("status"));
    }

    private void MarkScheduled(JsonObject status)
    {
        if (status.Array("conditions") is not { } conditions)
        {
            status["conditions"] = conditions = [];
        }

        JsonObject? there = conditions.OfType<JsonObject>().FirstOrDefault(c => c.Text("type") == "PodScheduled");
        string since = there is not null && there.Text("status") == "True" ? there.Text("lastTransitionTime") : KubeTime.Format(time.GetUtcNow());
        JsonObject condition = new() { ["type"] = "PodScheduled", ["status"] = "True", ["lastProbeTime"] = null, ["lastTransitionTime"] = since };
        if (there is null)
        {
            conditions.Add((JsonNode)condition);
        }
        else
        {
            conditions[conditions.IndexOf(there)] = condition;
        }
    }

    private static void Validate(string name, JsonObject target)
    {
        List<FieldError> errors = [];
        if (target.Text("kind") is { Length: > 0 } kind && kind != "Node")
        {
            errors.Add(FieldError.NotSupported(FieldPath.New("target", "kind"), kind, ["Node", "<empty>"]));
        }

        if (target.Text("name").Length == 0)
        {
            errors.Add(FieldError.Required(FieldPath.New("target", "name"), ""));
        }

        if (errors.Count > 0)
        {
            throw new StatusException(Status.Invalid(new GroupKind("", "Binding"), name, errors));
        }
    }
}
