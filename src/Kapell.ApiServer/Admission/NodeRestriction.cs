using System.Text.Json.Nodes;
using Kapell.ApiServer.Authentication;
using Kapell.ApiServer.Authorization;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Admission;

/// <summary>A kubelet writes only its own node, lease and pods (upstream: plugin/pkg/admission/noderestriction).</summary>
internal sealed class NodeRestriction(IObjectLookup objects) : IAdmission
{
    private const string LeaseNamespace = "kube-node-lease";
    private const string MirrorAnnotation = "kubernetes.io/config.mirror";
    private const string RestrictedLabels = "node-restriction.kubernetes.io/";

    private static readonly string[] KubeletLabels =
    [
        "kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region", "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type",
        "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
    ];

    private static readonly string[] KubeletLabelSpaces = ["kubelet.kubernetes.io", "node.kubernetes.io"];

    public bool Handles(AdmissionRequest request) => NodeRule.NodeOf(request.User.Name, request.User.Groups) is not null;

    public ValueTask MutateAsync(AdmissionRequest request, CancellationToken cancel) => ValueTask.CompletedTask;

    public async ValueTask ValidateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        string node = NodeRule.NodeOf(request.User.Name, request.User.Groups)!;
        if (node.Length == 0)
        {
            throw AdmissionErrors.Forbidden(request, $"could not determine node from user {GoText.Quote(request.User.Name)}");
        }

        switch (request.Definition.Group + "/" + request.Definition.Plural)
        {
            case "/pods":
                await CheckPodAsync(node, request, cancel);
                break;
            case "/nodes":
                CheckNode(node, request);
                break;
            case "coordination.k8s.io/leases":
                CheckLease(node, request);
                break;
        }
    }

    private async ValueTask CheckPodAsync(string node, AdmissionRequest request, CancellationToken cancel)
    {
        switch (request.Subresource)
        {
            case "" when request.Operation == AdmissionOperation.Create:
                CheckMirrorPod(node, request);
                break;
            case "" when request.Operation == AdmissionOperation.Delete:
                await DemandOwnPodAsync(node, request, "delete", cancel);
                break;
            case "" when request.Operation == AdmissionOperation.Update:
                throw AdmissionErrors.Forbidden(request, "unexpected operation UPDATE");
            case "status":
                if (request.OldObject.Object("spec").Text("nodeName") != node)
                {
                    throw AdmissionErrors.Forbidden(
                        request, $"node {GoText.Quote(node)} can only update pod status for pods with spec.nodeName set to itself");
                }

                if (!JsonNode.DeepEquals(request.OldObject.Object("metadata")?["labels"], request.Object.Object("metadata")?["labels"]))
                {
                    throw AdmissionErrors.Forbidden(request, $"node {GoText.Quote(node)} cannot update labels through pod status");
                }

                break;
            case "eviction":
                await DemandOwnPodAsync(node, request, "evict", cancel);
                break;
        }
    }

    private static void CheckMirrorPod(string node, AdmissionRequest request)
    {
        JsonObject pod = request.Object!;
        if (pod.Object("metadata").Object("annotations") is not { } annotations || !annotations.ContainsKey(MirrorAnnotation))
        {
            throw AdmissionErrors.Forbidden(request, $"pod does not have {GoText.Quote(MirrorAnnotation)} annotation, node {GoText.Quote(node)} can only create mirror pods");
        }

        if (pod.Object("spec").Text("nodeName") != node)
        {
            throw AdmissionErrors.Forbidden(request, $"node {GoText.Quote(node)} can only create pods with spec.nodeName set to itself");
        }

        if (pod.Object("spec").Text("serviceAccountName").Length > 0)
        {
            throw AdmissionErrors.Forbidden(request, $"node {GoText.Quote(node)} can not create pods that reference a service account");
        }
    }

    private async ValueTask DemandOwnPodAsync(string node, AdmissionRequest request, string verb, CancellationToken cancel)
    {
        KubeObject? pod = request.OldObject is { } old
            ? KubeObject.From(old)
            : await objects.FindAsync("", "pods", new ObjectKey(request.Namespace, request.Name), cancel);
        if (pod is null)
        {
            throw new StatusException(Status.NotFound(request.Resource, request.Name));
        }

        if (pod.Spec.Text("nodeName") != node)
        {
            throw AdmissionErrors.Forbidden(request, $"node {GoText.Quote(node)} can only {verb} pods with spec.nodeName set to itself");
        }
    }

    private static void CheckNode(string node, AdmissionRequest request)
    {
        string name = AdmissionErrors.NameOf(request);
        if (name != node)
        {
            throw AdmissionErrors.Forbidden(request, $"node {GoText.Quote(node)} is not allowed to modify node {GoText.Quote(name)}");
        }

        JsonObject? metadata = request.Object.Object("metadata");
        JsonObject? before = request.OldObject.Object("metadata");
        string[] changed = [.. ChangedKeys(metadata.Object("labels"), before.Object("labels")).Where(IsForbiddenLabel).Order(StringComparer.Ordinal)];
        if (changed.Length > 0)
        {
            string verb = request.Operation == AdmissionOperation.Create ? "is not allowed to set" : "is not allowed to modify";
            throw AdmissionErrors.Forbidden(request, $"{verb} the following labels: {string.Join(", ", changed)}");
        }

        if (request.Operation == AdmissionOperation.Create && request.Object.Object("spec")?["configSource"] is not null)
        {
            throw AdmissionErrors.Forbidden(request, $"node {GoText.Quote(node)} is not allowed to create pods with a non-nil configSource");
        }

        if (request.Operation != AdmissionOperation.Update)
        {
            return;
        }

        if (!JsonNode.DeepEquals(before?["ownerReferences"], metadata?["ownerReferences"]))
        {
            throw AdmissionErrors.Forbidden(request, $"node {GoText.Quote(node)} is not allowed to modify ownerReferences");
        }

        if (!JsonNode.DeepEquals(request.OldObject.Object("spec")?["taints"], request.Object.Object("spec")?["taints"]))
        {
            throw AdmissionErrors.Forbidden(request, $"node {GoText.Quote(node)} is not allowed to modify taints");
        }
    }

    private static IEnumerable<string> ChangedKeys(JsonObject? now, JsonObject? before) =>
        (now ?? []).Select(p => p.Key).Concat((before ?? []).Select(p => p.Key)).Distinct()
            .Where(k => !JsonNode.DeepEquals(now?[k], before?[k])).ToArray();

    /// <summary>Labels under kubernetes.io and k8s.io belong to the administrator, except those a kubelet tells of itself.</summary>
    private static bool IsForbiddenLabel(string key)
    {
        int slash = key.IndexOf('/', StringComparison.Ordinal);
        string space = slash < 0 ? "" : key[..slash];
        if (key.StartsWith(RestrictedLabels, StringComparison.Ordinal) || space.EndsWith(".node-restriction.kubernetes.io", StringComparison.Ordinal))
        {
            return true;
        }

        bool isKubernetes = IsUnder(space, "kubernetes.io") || IsUnder(space, "k8s.io");
        return isKubernetes && !KubeletLabels.Contains(key) && !KubeletLabelSpaces.Any(s => IsUnder(space, s));
    }

    private static bool IsUnder(string space, string root) => space == root || space.EndsWith("." + root, StringComparison.Ordinal);

    private static void CheckLease(string node, AdmissionRequest request)
    {
        if (request.Namespace != LeaseNamespace)
        {
            throw AdmissionErrors.Forbidden(request, $"can only access leases in the {GoText.Quote(LeaseNamespace)} system namespace");
        }

        if (AdmissionErrors.NameOf(request) != node)
        {
            throw AdmissionErrors.Forbidden(request, "can only access node lease with the same name as the requesting node");
        }
    }
}
