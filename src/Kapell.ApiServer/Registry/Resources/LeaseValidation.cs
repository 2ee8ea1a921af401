using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>Leases (pkg/apis/coordination/validation).</summary>
internal static class LeaseValidation
{
    public static List<FieldError> Lease(JsonObject lease)
    {
        FieldPath path = FieldPath.New("spec");
        JsonObject? spec = lease.Obj("spec");
        List<FieldError> errors = [];
        if (spec.Long("leaseDurationSeconds") is <= 0 and var seconds)
        {
            errors.Add(FieldError.Invalid(path.Child("leaseDurationSeconds"), seconds, "must be greater than 0"));
        }

        Validating.NotNegativeNumber(errors, path, spec, "leaseTransitions");
        if (spec.Has("strategy"))
        {
            string strategy = spec.Text("strategy");
            Validating.Messages(errors, path.Child("strategy"), strategy, Names.IsQualifiedName(strategy));
        }

        if (spec.Text("preferredHolder").Length > 0 && spec.Text("strategy").Length == 0)
        {
            errors.Add(FieldError.Forbidden(path.Child("preferredHolder"), "may only be specified if `strategy` is defined"));
        }

        return errors;
    }
}
