using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.Client;

/// <summary>What may stand beside any single-object request; the defaults add nothing to the URL.</summary>
public sealed record RequestOptions
{
    public static readonly RequestOptions None = new();

    /// <summary><c>status</c>, <c>scale</c>, <c>binding</c>, ...</summary>
    public string Subresource { get; init; } = "";

    public bool DryRun { get; init; }

    public string FieldManager { get; init; } = "";

    /// <summary><c>Ignore</c>, <c>Warn</c>, <c>Strict</c> or empty.</summary>
    public string FieldValidation { get; init; } = "";

    /// <summary>For server-side apply: take fields from other managers.</summary>
    public bool Force { get; init; }

    public string ResourceVersion { get; init; } = "";

    public static RequestOptions For(string subresource) => new() { Subresource = subresource };
}

/// <summary>Options of list, watch and deletecollection.</summary>
public sealed record ListOptions
{
    public static readonly ListOptions None = new();

    public string LabelSelector { get; init; } = "";

    public string FieldSelector { get; init; } = "";

    public string ResourceVersion { get; init; } = "";

    public string ResourceVersionMatch { get; init; } = "";

    /// <summary>Page size; 0 asks for everything at once.</summary>
    public int Limit { get; init; }

    public string Continue { get; init; } = "";

    /// <summary>Ask for PartialObjectMetadata only (a server that cannot answers with whole objects).</summary>
    public bool MetadataOnly { get; init; }

    /// <summary>For watches: the server ends the stream after this time; zero leaves it to the server.</summary>
    public TimeSpan Timeout { get; init; }

    /// <summary>For watches: ask for bookmark events.</summary>
    public bool Bookmarks { get; init; }
}

/// <summary>The body of a delete (metav1.DeleteOptions).</summary>
public sealed record DeleteOptions
{
    public static readonly DeleteOptions None = new();

    public long? GracePeriodSeconds { get; init; }

    /// <summary><c>Background</c>, <c>Foreground</c>, <c>Orphan</c> or empty for the resource's default.</summary>
    public string PropagationPolicy { get; init; } = "";

    public string PreconditionUid { get; init; } = "";

    public string PreconditionResourceVersion { get; init; } = "";

    public bool DryRun { get; init; }

    public JsonObject ToJson()
    {
        JsonObject json = new() { ["kind"] = "DeleteOptions", ["apiVersion"] = "v1" };
        if (GracePeriodSeconds is { } grace)
        {
            json["gracePeriodSeconds"] = grace;
        }

        if (PropagationPolicy.Length > 0)
        {
            json["propagationPolicy"] = PropagationPolicy;
        }

        if (PreconditionUid.Length > 0 || PreconditionResourceVersion.Length > 0)
        {
            JsonObject preconditions = new();
            if (PreconditionUid.Length > 0)
            {
                preconditions["uid"] = PreconditionUid;
            }

            if (PreconditionResourceVersion.Length > 0)
            {
                preconditions["resourceVersion"] = PreconditionResourceVersion;
            }

            json["preconditions"] = preconditions;
        }

        if (DryRun)
        {
            json["dryRun"] = new JsonArray("All");
        }

        return json;
    }
}

/// <summary>How a patch body is to be read.</summary>
public enum PatchKind
{
    Merge,
    Strategic,
    Json,

    /// <summary>Server-side apply; needs <see cref="RequestOptions.FieldManager"/>.</summary>
    Apply,
}

/// <summary>A request body: a node tree or ready bytes.</summary>
public readonly struct KubeBody
{
    private KubeBody(ReadOnlyMemory<byte> utf8) => Utf8 = utf8;

    public ReadOnlyMemory<byte> Utf8 { get; }

    public static implicit operator KubeBody(JsonNode node) => new(JsonBytes.Of(node));

    public static implicit operator KubeBody(byte[] utf8) => new(utf8);

    public static implicit operator KubeBody(ReadOnlyMemory<byte> utf8) => new(utf8);

    public static implicit operator KubeBody(KubeObject value) => new(value.Utf8);
}

/// <summary>One page, or all pages, of a list.</summary>
public sealed record KubeList(IReadOnlyList<KubeObject> Items, string ResourceVersion, string Continue);

/// <summary>What happened to an object.</summary>
public enum WatchEventType
{
    Added,
    Modified,
    Deleted,

    /// <summary>No change: the object carries only the resourceVersion up to which everything has been sent.</summary>
    Bookmark,
}

/// <summary>One event of a watch.</summary>
public readonly record struct WatchEvent(WatchEventType Type, KubeObject Object);
