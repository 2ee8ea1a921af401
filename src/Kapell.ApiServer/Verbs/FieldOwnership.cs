using System.Text.Json.Nodes;
using Kapell.Machinery.Apply;
using Kapell.Machinery.Schemas;

namespace Kapell.ApiServer.Verbs;

/// <summary>Keeps <c>metadata.managedFields</c> of every write that is not an apply (upstream: fieldmanager).</summary>
internal sealed class FieldOwnership(SchemaSet schemas)
{
    /// <summary>Notes who changed which fields in <paramref name="next"/> against <paramref name="old"/>.</summary>
    public void OnWrite(VerbRequest request, JsonObject? old, JsonObject next)
    {
        if (!request.FieldsAreTracked && schemas.Find(request.Definition.SchemaName) is { } schema)
        {
            ManagedFields.OnUpdate(
                old, next, request.FieldManager, request.Definition.GroupVersionKind.ApiVersion, request.SubresourceName, request.Now, schema);
        }
    }
}
