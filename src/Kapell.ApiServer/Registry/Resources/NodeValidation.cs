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
            // Upstream looks for the taints under metadata.
            FieldPath at = FieldPath.New("metadata", "taints").Index(i++);
            string key = taint.Text("key");
            string effect = taint.Text("effect");
            Validating.Messages(errors, at.Child("key"), key, Names.IsQualifiedName(key));
            if (Names.IsLabelValue(taint.Text("value")) is { Count: > 0 } faults)
            {
                errors.Add(FieldError.Invalid(at.Child("value"), taint.Text("value"), string.Join(';', faults)));
            }

            AffinityValidation.TaintEffect(errors, at.Child("effect"), effect);
            if (!seen.Add((key, effect)))
            {
                errors.Add(FieldError.Duplicate(at, taint) with { Detail = "taints must be unique by key and effect pair" });
            }
        }

        ResourceList(errors, node, "capacity");
        ResourceList(errors, node, "allocatable");
        PodRanges(errors, node);
        return errors;
    }

    public static List<FieldError> NodeUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        JsonObject? now = updated.Obj("spec");
        JsonObject? before = old.Obj("spec");
        Addresses(errors, updated);
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

    public static List<FieldError> StatusUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        ResourceList(errors, updated, "capacity");
        ResourceList(errors, updated, "allocatable");
        Addresses(errors, updated);
        return errors;
    }

    private static void Addresses(List<FieldError> errors, JsonObject node)
    {
        HashSet<(string, string)> seen = [];
        int i = 0;
        foreach (JsonObject address in node.Obj("status").Items("addresses"))
        {
            if (!seen.Add((address.Text("type"), address.Text("address"))))
            {
                errors.Add(FieldError.Duplicate(FieldPath.New("status", "addresses").Index(i), address));
            }

            i++;
        }
    }

    private static void PodRanges(List<FieldError> errors, JsonObject node)
    {
        FieldPath path = Spec.Child("podCIDRs");
        string[] ranges = [.. node.Obj("spec").Texts("podCIDRs")];
        HashSet<string> seen = new(StringComparer.Ordinal);
        int families = 0;
        for (int i = 0; i < ranges.Length; i++)
        {
            Validating.Cidr(errors, path.Index(i), ranges[i]);
            families |= ranges[i].Contains(':') ? 2 : 1;
        }

        if (ranges.Length > 2 || (ranges.Length == 2 && families != 3))
        {
            errors.Add(FieldError.Invalid(path, node.Obj("spec").Arr("podCIDRs"), "may specify no more than one CIDR for each IP family"));
        }

        for (int i = 0; i < ranges.Length; i++)
        {
            if (!seen.Add(ranges[i]))
            {
                errors.Add(FieldError.Duplicate(path.Index(i), ranges[i]));
            }
        }
    }

    private static void ResourceList(List<FieldError> errors, JsonObject node, string list)
    {
        JsonObject? resources = node.Obj("status").Obj(list);
        foreach ((string name, JsonNode? value) in resources ?? [])
        {
            FieldPath at = FieldPath.New("status", list, name);
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
