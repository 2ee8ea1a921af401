using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Http;

/// <summary>What must hold of the stored object for a write to happen; null means any.</summary>
public sealed record Preconditions(string? Uid = null, string? ResourceVersion = null);

/// <summary>A consistent list with the revision it is of.</summary>
public sealed record ObjectList(IReadOnlyList<KubeObject> Items, string ResourceVersion);

/// <summary>A watch event's type.</summary>
public enum ObjectEventType
{
    Added,
    Modified,
    Deleted,

    /// <summary>No object: only <see cref="ObjectEvent.ResourceVersion"/> has moved on.</summary>
    Bookmark,
}

/// <summary>One change. For Deleted, <see cref="Object"/> is the last state, with the revision of the deletion.</summary>
public sealed record ObjectEvent(ObjectEventType Type, KubeObject? Object, string ResourceVersion);

/// <summary>
/// The objects of the server below the generic verbs: no admission, validation or defaults. Objects come back with apiVersion,
/// kind and metadata.resourceVersion set, in the stored version. Failures are <see cref="StatusException"/> (404, 409, 410, 5xx).
/// Safe for concurrent use.
/// </summary>
public interface IObjectStore
{
    /// <summary>A consistent read; null when there is none.</summary>
    Task<KubeObject?> GetAsync(ResourceDefinition resource, ObjectKey key, CancellationToken cancel);

    /// <summary>A consistent list of one namespace, or of all with "".</summary>
    Task<ObjectList> ListAsync(ResourceDefinition resource, string ns, CancellationToken cancel);

    /// <summary>The name and namespace come from the object's metadata; uid and creationTimestamp are set when absent.</summary>
    Task<KubeObject> CreateAsync(ResourceDefinition resource, JsonObject obj, CancellationToken cancel);

    /// <summary>
    /// Read, change, compare-and-swap, again on conflict (GuaranteedUpdate). <paramref name="change"/> gets a private copy and
    /// returns what is to be stored, or null to write nothing; it may run several times. An unchanged object is not written.
    /// </summary>
    Task<KubeObject> UpdateAsync(
        ResourceDefinition resource, ObjectKey key, Preconditions? preconditions, Func<JsonObject, JsonObject?> change, CancellationToken cancel);

    /// <summary>Removes at once (no grace, no finalizers) and returns the last state.</summary>
    Task<KubeObject> DeleteAsync(ResourceDefinition resource, ObjectKey key, Preconditions? preconditions, CancellationToken cancel);

    /// <summary>
    /// Changes after <paramref name="resourceVersion"/> (of a list or an object), in order, until cancelled. Throws 410 when that
    /// is too old or this reader too slow: list again.
    /// </summary>
    IAsyncEnumerable<ObjectEvent> WatchAsync(ResourceDefinition resource, string ns, string resourceVersion, CancellationToken cancel);
}
