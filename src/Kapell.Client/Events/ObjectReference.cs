using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.Client.Events;

/// <summary>What an event is about (core/v1 ObjectReference).</summary>
public sealed record ObjectReference(string ApiVersion, string Kind, string Namespace, string Name, string Uid)
{
    public string ResourceVersion { get; init; } = "";

    /// <summary>Such as <c>spec.containers{web}</c>.</summary>
    public string FieldPath { get; init; } = "";

    public static ObjectReference To(KubeObject o, string fieldPath = "") =>
        new(o.ApiVersion, o.Kind, o.Namespace, o.Name, o.Uid) { ResourceVersion = o.ResourceVersion, FieldPath = fieldPath };

    public JsonObject ToJson()
    {
        JsonObject json = new();
        Add(json, "kind", Kind);
        Add(json, "namespace", Namespace);
        Add(json, "name", Name);
        Add(json, "uid", Uid);
        Add(json, "apiVersion", ApiVersion);
        Add(json, "resourceVersion", ResourceVersion);
        Add(json, "fieldPath", FieldPath);
        return json;
    }

    private static void Add(JsonObject json, string name, string value)
    {
        if (value.Length > 0)
        {
            json[name] = value;
        }
    }
}
