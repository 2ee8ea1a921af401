using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Http;

/// <summary>What the answer is to be turned into.</summary>
internal enum Transform
{
    None,
    Table,
    PartialMetadata,
    PartialMetadataList,
    Discovery,
}

/// <summary>The form of an answer, agreed on by the Accept header (upstream: endpoints/handlers/negotiation).</summary>
/// <param name="Version">Of the transform: v1, v1beta1, v2, v2beta1.</param>
internal sealed record OutputFormat(bool Yaml, Transform Transform, string Version, bool Pretty)
{
    private const string Accepted = "only the following media types are accepted: application/json, application/yaml";

    public string ContentType => Yaml ? "application/yaml" : "application/json";

    /// <exception cref="StatusException">406 when nothing we can do is asked for.</exception>
    public static OutputFormat Negotiate(HttpRequest request, Func<Transform, string, bool> allowed)
    {
        bool pretty = IsPretty(request);
        string accept = string.Join(',', request.Headers.Accept.ToArray());
        if (accept.Length == 0)
        {
            return new OutputFormat(false, Transform.None, "", pretty);
        }

        foreach (string clause in accept.Split(','))
        {
            if (TryClause(clause, pretty, out OutputFormat format) && (format.Transform == Transform.None || allowed(format.Transform, format.Version)))
            {
                return format;
            }
        }

        throw new StatusException(Status.NotAcceptable(Accepted));
    }

    /// <summary>For errors: JSON unless YAML is wanted, whatever else the caller accepts.</summary>
    public static OutputFormat ForErrors(HttpRequest request) =>
        new(request.Headers.Accept.ToString().StartsWith("application/yaml", StringComparison.OrdinalIgnoreCase), Transform.None, "", IsPretty(request));

    private static bool TryClause(string clause, bool pretty, out OutputFormat format)
    {
        string[] parts = clause.Split(';', StringSplitOptions.TrimEntries);
        string type = parts[0].ToLowerInvariant();
        string target = "";
        string group = "";
        string version = "";
        foreach (string parameter in parts.Skip(1))
        {
            int equals = parameter.IndexOf('=', StringComparison.Ordinal);
            (string name, string value) = equals < 0 ? (parameter, "") : (parameter[..equals], parameter[(equals + 1)..]);
            switch (name)
            {
                case "as": target = value; break;
                case "g": group = value; break;
                case "v": version = value; break;
                case "pretty": pretty = RequestInfo.IsTrue(value); break;
                default: break;
            }
        }

        Transform transform = (target, group) switch
        {
            ("", _) => Transform.None,
            ("Table", "meta.k8s.io") => Transform.Table,
            ("PartialObjectMetadata", "meta.k8s.io") => Transform.PartialMetadata,
            ("PartialObjectMetadataList", "meta.k8s.io") => Transform.PartialMetadataList,
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io") => Transform.Discovery,
            _ => (Transform)(-1),
        };
        format = new OutputFormat(type == "application/yaml", transform, version, pretty);
        return transform >= 0 && type is "application/json" or "application/yaml" or "*/*" or "application/*";
    }

    /// <summary>Asked for, or the caller looks like a person at a terminal (upstream does the same).</summary>
    private static bool IsPretty(HttpRequest request)
    {
        if (request.Query.TryGetValue("pretty", out var values))
        {
            return RequestInfo.IsTrue(values[0]);
        }

        string agent = request.Headers.UserAgent.ToString();
        return agent.StartsWith("curl", StringComparison.Ordinal) || agent.StartsWith("Wget", StringComparison.Ordinal)
            || agent.StartsWith("Mozilla/5.0", StringComparison.Ordinal);
    }
}
