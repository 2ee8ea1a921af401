using Kapell.Machinery;

namespace Kapell.Client.Informers;

/// <summary>What an informer caches.</summary>
public sealed record InformerOptions
{
    public static readonly InformerOptions Everything = new();

    /// <summary>Empty for all namespaces.</summary>
    public string Namespace { get; init; } = "";

    public string LabelSelector { get; init; } = "";

    public string FieldSelector { get; init; } = "";

    /// <summary>Only metadata is asked for and kept.</summary>
    public bool MetadataOnly { get; init; }
}
