using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>Nodes (core validation: ValidateNode, ValidateNodeUpdate).</summary>
internal static class NodeValidation
{
    private static readonly FieldPath Spec = FieldPath.New("spec");

    public static List<FieldError> Node(JsonObject node)
    {
        List<FieldError> errors = [];
        HashSet<(string, string)> seen = [];
        int i = 0;
        foreach (JsonObject taint in node.Obj("spec").Items("taints"))
        {
            FieldPath at = Spec.Child("taints").Index(i++);
            string key = taint.Text("key");
            string effect = taint.Text("effect");
            Validating.Messages(errors, at.Child("key"), key, Names.IsQualifiedName(key));
            Validating.Messages(errors, at.Child("value"), taint.Text("value"), Names.IsLabelValue(taint.Text("value")));
            AffinityValidation.TaintEffect(errors, at.Child("effect"), effect);
            if (!seen.Add((key, effect)))
            {
                errors.Add(FieldError.Duplicate(at, taint) with { Detail = "taints must be unique by key and effect pair" });
            }
        }

        if (node.Obj("spec").Arr("podCIDRs") is { Count: > 2 } ranges)
        {
            errors.Add(FieldError.Invalid(Spec.Child("podCIDRs"), ranges, "may specify no more than one CIDR for each IP family"));
        }

        ResourceList(errors, node, "capacity");
        ResourceList(errors, node, "allocatable");
        return errors;
    }

    public static List<FieldError> NodeUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        JsonObject? now = updated.Obj("spec");
        JsonObject? before = old.Obj("spec");
        if (before.HasItems("podCIDRs") && !now?["podCIDRs"].SameAs(before!["podCIDRs"]) == true)
        {
            errors.Add(FieldError.Forbidden(Spec.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"));
        }

        if (before.Text("providerID").Length > 0 && now.Text("providerID") != before.Text("providerID"))
        {
            errors.Add(FieldError.Forbidden(Spec.Child("providerID"), "node updates may not change providerID except from \"\" to valid"));
        }

        return errors;
    }

    private static void ResourceList(List<FieldError> errors, JsonObject node, string list)
    {
        JsonObject? resources = node.Obj("status").Obj(list);
        foreach ((string name, JsonNode? value) in resources ?? [])
        {
            FieldPath at = FieldPath.New("status", list).Key(name);
            if (!Quantities.TryGet(resources, name, out Quantity quantity))
            {
                errors.Add(FieldError.Invalid(at, value, "must be a valid resource quantity"));
            }
            else if (quantity.Sign < 0)
            {
                errors.Add(FieldError.Invalid(at, quantity.ToString(), Validating.NotNegative));
            }
        }
    }
}
