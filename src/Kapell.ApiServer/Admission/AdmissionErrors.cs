using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Admission;

/// <summary>Refusals with upstream's naming of the object (apiserver/pkg/admission/errors.go extractResourceName).</summary>
internal static class AdmissionErrors
{
    public static StatusException Forbidden(AdmissionRequest request, string why) =>
        new(Status.Forbidden(request.Resource, NameOf(request), why));

    public static string NameOf(AdmissionRequest request)
    {
        if (request.Name.Length > 0)
        {
            return request.Name;
        }

        string name = request.Object.Object("metadata").Text("name");
        string generate = request.Object.Object("metadata").Text("generateName");
        return name.Length > 0 ? name : generate.Length > 0 ? generate : "Unknown";
    }

    /// <summary>A whole pod on its way in, not one of its subresources.</summary>
    public static bool IsPod(AdmissionRequest request) =>
        request.Definition is { Group: "", Plural: "pods" } && request.Subresource.Length == 0;

    public static bool Is(AdmissionRequest request, string group, string plural) =>
        request.Definition.Group == group && request.Definition.Plural == plural;
}
