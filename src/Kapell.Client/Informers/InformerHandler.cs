using Kapell.Machinery;

namespace Kapell.Client.Informers;

/// <summary>
/// What to do when a cache changes. All handlers of one informer are called from its one loop, one after another, in the order of the
/// server's events for each object; a handler must be quick and must not wait (put a key in a queue and return).
/// </summary>
public sealed class InformerHandler
{
    /// <summary>An object is in the cache that was not; also called for each object already there when the handler is added late.</summary>
    public Action<KubeObject>? OnAdded { get; init; }

    /// <summary>Old and new. Several changes on the server may be seen as one.</summary>
    public Action<KubeObject, KubeObject>? OnUpdated { get; init; }

    /// <summary>
    /// The last state known. After a gap in the watch that is what the cache held, not what the server deleted, and the object may have
    /// been deleted and created again in between (then this is followed by OnAdded only if the uid differs).
    /// </summary>
    public Action<KubeObject>? OnDeleted { get; init; }

    /// <summary>One action for all three, on the newest state known.</summary>
    public static InformerHandler ForAll(Action<KubeObject> action) => new()
    {
        OnAdded = action, OnUpdated = (_, now) => action(now), OnDeleted = action,
    };
}
