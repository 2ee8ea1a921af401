using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.Controllers.Shared;

/// <summary>One entry of <c>metadata.ownerReferences</c>.</summary>
internal readonly record struct OwnerReference(string ApiVersion, string Kind, string Name, string Uid, bool Controller, bool BlockOwnerDeletion);

/// <summary>Reads and writes owner references (apimachinery: controller_ref.go).</summary>
internal static class Owners
{
    public static IEnumerable<OwnerReference> Of(KubeObject o) => o.Metadata.Items("ownerReferences").Select(r => new OwnerReference(
        r.Text("apiVersion"), r.Text("kind"), r.Text("name"), r.Text("uid"), r.Bool("controller"), r.Bool("blockOwnerDeletion")));

    public static OwnerReference? ControllerOf(KubeObject o)
    {
        foreach (OwnerReference r in Of(o))
        {
            if (r.Controller)
            {
                return r;
            }
        }

        return null;
    }

    public static bool IsControlledBy(KubeObject o, KubeObject owner) => ControllerOf(o)?.Uid == owner.Uid;

    /// <summary>The reference a controller writes into what it makes.</summary>
    public static JsonObject ControllerReference(KubeObject owner) => new()
    {
        ["apiVersion"] = owner.ApiVersion, ["kind"] = owner.Kind, ["name"] = owner.Name, ["uid"] = owner.Uid,
        ["controller"] = true, ["blockOwnerDeletion"] = true,
    };

    /// <summary>An index function: the uid of the controller, or <c>orphan/NAMESPACE</c>.</summary>
    public static IEnumerable<string> ControllerIndex(KubeObject o) => [ControllerOf(o) is { } c ? c.Uid : "orphan/" + o.Namespace];

    public const string ControllerIndexName = "controller";
}
