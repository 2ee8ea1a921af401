using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Verbs;

/// <summary>The kinds of patch, by media type.</summary>
internal enum PatchType
{
    Json,
    Merge,
    Strategic,
    Apply,
}

/// <summary>Tells patches apart.</summary>
internal static class Patching
{
    public static PatchType TypeOf(string mediaType) => mediaType switch
    {
        "application/json-patch+json" => PatchType.Json,
        "application/merge-patch+json" => PatchType.Merge,
        "application/strategic-merge-patch+json" => PatchType.Strategic,
        "application/apply-patch+yaml" or "application/apply-patch+json" => PatchType.Apply,
        _ => throw new StatusException(Status.UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, " +
            "application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml")),
    };
}
