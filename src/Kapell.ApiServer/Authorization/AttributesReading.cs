using Kapell.ApiServer.Http;

namespace Kapell.ApiServer.Authorization;

/// <summary>Readings of <see cref="AuthorizationAttributes"/> that rules share.</summary>
internal static class AttributesReading
{
    public static string CombinedResource(this AuthorizationAttributes request) =>
        request.Subresource.Length == 0 ? request.Resource : request.Resource + "/" + request.Subresource;

    /// <summary>Upstream's sentence of refusal (endpoints/handlers/responsewriters forbiddenMessage).</summary>
    public static string Denial(this AuthorizationAttributes request)
    {
        string user = GoText.Quote(request.User.Name);
        if (!request.IsResourceRequest)
        {
            return $"User {user} cannot {request.Verb} path {GoText.Quote(request.Path)}";
        }

        string what = $"User {user} cannot {request.Verb} resource {GoText.Quote(request.CombinedResource())} in API group {GoText.Quote(request.Group)}";
        return request.Namespace.Length > 0 ? $"{what} in the namespace {GoText.Quote(request.Namespace)}" : what + " at the cluster scope";
    }
}
