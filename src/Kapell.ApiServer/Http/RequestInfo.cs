using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Http;

/// <summary>What a URL and method ask for, in Kubernetes' terms (upstream: endpoints/request/requestinfo.go).</summary>
public sealed record RequestInfo
{
    private static readonly string[] NamespaceSubresources = ["status", "finalize"];

    public required bool IsResourceRequest { get; init; }

    public required string Path { get; init; }

    /// <summary>get, list, watch, create, update, patch, delete, deletecollection, proxy; the lower-case HTTP method for other paths.</summary>
    public required string Verb { get; init; }

    public string Group { get; init; } = "";

    public string Version { get; init; } = "";

    public string Namespace { get; init; } = "";

    public string Resource { get; init; } = "";

    public string Subresource { get; init; } = "";

    /// <summary>Empty when the URL names none; a list or watch with <c>metadata.name=x</c> as field selector has x.</summary>
    public string Name { get; init; } = "";

    /// <summary>True when the name stands in the path itself.</summary>
    public bool NameInPath { get; init; }

    /// <summary>From the resource on: resource, name, subresource, and what follows (proxy paths).</summary>
    public IReadOnlyList<string> Parts { get; init; } = [];

    public string FieldSelector { get; init; } = "";

    public string LabelSelector { get; init; } = "";

    public bool IsReadOnly => Verb is "get" or "list" or "watch" or "head" or "options";

    /// <param name="method">The HTTP method, upper case.</param>
    /// <param name="path">The decoded path.</param>
    /// <param name="query">The query's values by name.</param>
    public static RequestInfo Parse(string method, string path, IQueryCollection query)
    {
        RequestInfo other = new() { IsResourceRequest = false, Path = path, Verb = method.ToLowerInvariant() };
        ReadOnlySpan<string> parts = path.Trim('/').Split('/');
        if (parts.Length < 3 || parts[0] is not ("api" or "apis"))
        {
            return other;
        }

        bool grouped = parts[0] == "apis";
        parts = parts[1..];
        string group = "";
        if (grouped)
        {
            if (parts.Length < 3)
            {
                return other;
            }

            group = parts[0];
            parts = parts[1..];
        }

        string version = parts[0];
        parts = parts[1..];
        bool verbInPath = parts[0] is "proxy" or "watch" && parts.Length >= 2;
        string verb = verbInPath ? parts[0] : method switch
        {
            "POST" => "create", "GET" or "HEAD" => "get", "PUT" => "update", "PATCH" => "patch", "DELETE" => "delete", _ => "",
        };
        parts = verbInPath ? parts[1..] : parts;
        string ns = "";
        if (parts[0] == "namespaces" && parts.Length > 1)
        {
            ns = parts[1];
            parts = parts.Length > 2 && !NamespaceSubresources.Contains(parts[2]) ? parts[2..] : parts;
        }

        string name = parts.Length >= 2 ? parts[1] : "";
        bool nameInPath = name.Length > 0;
        string subresource = parts.Length >= 3 && verb != "proxy" ? parts[2] : "";
        if (!nameInPath && verb == "get")
        {
            verb = IsTrue(query["watch"]) ? "watch" : "list";
            name = NameFromSelector(query["fieldSelector"]);
        }
        else if (!nameInPath && verb == "delete")
        {
            verb = "deletecollection";
        }

        bool selectors = !verbInPath && verb is "list" or "watch" or "deletecollection";
        return other with
        {
            IsResourceRequest = true, Verb = verb, Group = group, Version = version, Namespace = ns, Resource = parts[0], Name = name,
            NameInPath = nameInPath, Subresource = subresource, Parts = parts.ToArray(),
            FieldSelector = selectors ? query["fieldSelector"].FirstOrDefault() ?? "" : "",
            LabelSelector = selectors ? query["labelSelector"].FirstOrDefault() ?? "" : "",
        };
    }

    /// <summary>A bool parameter as upstream's conversion reads it: present and neither "false" nor "0".</summary>
    public static bool IsTrue(string? value) => value is not null && value.ToLowerInvariant() is not ("false" or "0");

    private static string NameFromSelector(string? selector)
    {
        foreach (string part in (selector ?? "").Split(','))
        {
            if (part.StartsWith("metadata.name=", StringComparison.Ordinal))
            {
                string name = part["metadata.name=".Length..].TrimStart('=');
                return name is "." or ".." || name.Contains('/', StringComparison.Ordinal) || name.Contains('%', StringComparison.Ordinal) ? "" : name;
            }
        }

        return "";
    }
}
