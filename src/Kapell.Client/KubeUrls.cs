using System.Text;
using Kapell.Machinery;

namespace Kapell.Client;

/// <summary>Paths, queries and media types of the API.</summary>
internal static class KubeUrls
{
    public const string AcceptMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json";
    public const string AcceptMetadataList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json";

    public static string PatchType(PatchKind kind) => kind switch
    {
        PatchKind.Merge => "application/merge-patch+json",
        PatchKind.Strategic => "application/strategic-merge-patch+json",
        PatchKind.Json => "application/json-patch+json",
        PatchKind.Apply => "application/apply-patch+yaml",
        _ => throw new System.Diagnostics.UnreachableException(),
    };

    public static string Object(GroupVersionResource resource, ObjectKey key, RequestOptions options)
    {
        StringBuilder url = Collection(resource, key.Namespace);
        if (key.Name.Length > 0)
        {
            url.Append('/').Append(Uri.EscapeDataString(key.Name));
        }

        if (options.Subresource.Length > 0)
        {
            url.Append('/').Append(options.Subresource);
        }

        Query query = new(url);
        query.Add("dryRun", options.DryRun ? "All" : "");
        query.Add("fieldManager", options.FieldManager);
        query.Add("fieldValidation", options.FieldValidation);
        query.Add("force", options.Force ? "true" : "");
        query.Add("resourceVersion", options.ResourceVersion);
        return url.ToString();
    }

    public static string List(GroupVersionResource resource, string ns, ListOptions options)
    {
        StringBuilder url = Collection(resource, ns);
        Add(new Query(url), options);
        return url.ToString();
    }

    public static string Watch(GroupVersionResource resource, string ns, ListOptions options)
    {
        StringBuilder url = Collection(resource, ns);
        Query query = new(url);
        query.Add("watch", "true");
        query.Add("allowWatchBookmarks", options.Bookmarks ? "true" : "");
        query.Add("timeoutSeconds", options.Timeout > TimeSpan.Zero ? ((long)options.Timeout.TotalSeconds).ToString() : "");
        Add(query, options with { Limit = 0, Continue = "" });
        return url.ToString();
    }

    private static void Add(Query query, ListOptions options)
    {
        query.Add("labelSelector", options.LabelSelector);
        query.Add("fieldSelector", options.FieldSelector);
        query.Add("resourceVersion", options.ResourceVersion);
        query.Add("resourceVersionMatch", options.ResourceVersionMatch);
        query.Add("limit", options.Limit > 0 ? options.Limit.ToString() : "");
        query.Add("continue", options.Continue);
    }

    private static StringBuilder Collection(GroupVersionResource resource, string ns)
    {
        StringBuilder url = new(resource.BasePath);
        if (ns.Length > 0)
        {
            url.Append("/namespaces/").Append(Uri.EscapeDataString(ns));
        }

        return url.Append('/').Append(resource.Resource);
    }

    private sealed class Query(StringBuilder url)
    {
        private char _separator = '?';

        public void Add(string name, string value)
        {
            if (value.Length > 0)
            {
                url.Append(_separator).Append(name).Append('=').Append(Uri.EscapeDataString(value));
                _separator = '&';
            }
        }
    }
}
