using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>A pod template inside a workload (core validation: ValidatePodTemplateSpec).</summary>
internal static class PodTemplateValidation
{
    public static void Validate(List<FieldError> errors, JsonObject? template, FieldPath path)
    {
        JsonObject? metadata = template.Obj("metadata");
        errors.AddRange(ObjectMetaValidation.ValidateLabels(metadata.Obj("labels"), path.Child("labels")));
        errors.AddRange(ObjectMetaValidation.ValidateAnnotations(metadata.Obj("annotations"), path.Child("annotations")));
        PodSpecValidation.Validate(errors, template.Obj("spec") ?? [], path.Child("spec"), isPod: false);
        if (template.Obj("spec").HasItems("ephemeralContainers"))
        {
            errors.Add(FieldError.Forbidden(path.Child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template"));
        }
    }
}
