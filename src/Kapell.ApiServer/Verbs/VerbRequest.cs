using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Verbs;

/// <summary>How strictly a body is read (upstream: fieldValidation).</summary>
internal enum FieldValidation
{
    Ignore,
    Warn,
    Strict,
}

/// <summary>One request to the generic registry, independent of HTTP.</summary>
internal sealed class VerbRequest
{
    public required ResourceDefinition Definition { get; init; }

    /// <summary>Null for the resource itself.</summary>
    public SubresourceDefinition? Subresource { get; init; }

    public required string Namespace { get; init; }

    /// <summary>From the URL; empty on create and for collections.</summary>
    public required string Name { get; init; }

    public required UserInfo User { get; init; }

    public bool DryRun { get; init; }

    /// <summary>Who owns the fields written (managedFields).</summary>
    public string FieldManager { get; init; } = "";

    /// <summary>An apply has written managedFields itself.</summary>
    public bool FieldsAreTracked { get; set; }

    public FieldValidation Validation { get; init; } = FieldValidation.Warn;

    public required DateTimeOffset Now { get; init; }

    public required CancellationToken Cancel { get; init; }

    /// <summary>Filled on the way, sent as <c>Warning</c> headers.</summary>
    public List<string> Warnings { get; } = [];

    /// <summary>One warning, once; null is none.</summary>
    public void Warn(string? warning)
    {
        if (warning is not null && !Warnings.Contains(warning))
        {
            Warnings.Add(warning);
        }
    }

    public string SubresourceName => Subresource?.Name ?? "";

    public RequestFacts Facts => new(Namespace, User.Name, Now);

    public AdmissionRequest Admission(AdmissionOperation operation, string name, JsonObject? obj, JsonObject? old) => new()
    {
        Operation = operation, Definition = Definition, Subresource = SubresourceName, Namespace = Namespace, Name = name,
        Object = obj, OldObject = old, User = User, DryRun = DryRun,
    };
}

/// <summary>What a delete may say (metav1.DeleteOptions).</summary>
internal sealed record DeleteOptions
{
    public long? GracePeriodSeconds { get; init; }

    public bool? OrphanDependents { get; init; }

    /// <summary>Orphan, Background, Foreground, or null.</summary>
    public string? PropagationPolicy { get; init; }

    public Preconditions? Preconditions { get; init; }
}
