using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Http;

/// <summary>What a request does to the object (admission.k8s.io's words, upper case on the wire).</summary>
public enum AdmissionOperation
{
    Create,
    Update,
    Delete,
    Connect,
}

/// <summary>One object on its way into the store. <see cref="Object"/> may be changed in the mutating phase only.</summary>
public sealed class AdmissionRequest
{
    public required AdmissionOperation Operation { get; init; }

    public required ResourceDefinition Definition { get; init; }

    /// <summary>Empty for the resource itself.</summary>
    public string Subresource { get; init; } = "";

    /// <summary>Empty for cluster-scoped resources.</summary>
    public required string Namespace { get; init; }

    public required string Name { get; init; }

    /// <summary>Null on delete.</summary>
    public JsonObject? Object { get; set; }

    /// <summary>Null on create. For reading only.</summary>
    public JsonObject? OldObject { get; init; }

    public required UserInfo User { get; init; }

    public bool DryRun { get; init; }

    /// <summary>Warnings for the caller (<c>Warning: 299</c>).</summary>
    public List<string> Warnings { get; } = [];

    /// <summary>Run, newest first, when the request fails after this plugin let it pass (give back an address, a port). Not run on dry-run success.</summary>
    public List<Func<CancellationToken, Task>> OnFailure { get; } = [];

    public GroupResource Resource => Definition.GroupResource;
}

/// <summary>
/// One admission plugin. All mutating phases run first, in order, then validation of the resource, then all validating phases.
/// Refuses by throwing <see cref="StatusException"/>. On updates it may be called again with a fresh old object after a conflict.
/// </summary>
public interface IAdmission
{
    /// <summary>Cheap filter: plugins that return false are not called.</summary>
    bool Handles(AdmissionRequest request);

    ValueTask MutateAsync(AdmissionRequest request, CancellationToken cancel);

    ValueTask ValidateAsync(AdmissionRequest request, CancellationToken cancel);
}
