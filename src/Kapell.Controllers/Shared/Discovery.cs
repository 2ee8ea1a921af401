using System.Text.Json;
using Kapell.Client;
using Kapell.Machinery;

namespace Kapell.Controllers.Shared;

/// <summary>One resource as the server announces it.</summary>
internal sealed record ApiResource(GroupVersionResource Resource, string Kind, bool Namespaced, IReadOnlySet<string> Verbs);

/// <summary>What a server serves, in each group's preferred version; groups that did not answer are named in <paramref name="Failures"/>.</summary>
internal sealed record Discovered(IReadOnlyList<ApiResource> Resources, IReadOnlyList<string> Failures);

/// <summary>Asks a server what it serves (client-go: discovery.ServerPreferredResources).</summary>
internal static class Discovery
{
    private const int GroupsMax = 1000;

    public static async Task<Discovered> PreferredAsync(KubeClient client, CancellationToken cancellation)
    {
        List<ApiResource> all = [];
        List<string> failures = [];
        await AddAsync(client, "/api/v1", "v1", all, failures, cancellation);
        KubeObject groups = await client.GetPathAsync("/apis", cancellation);
        foreach (JsonElement group in groups.Root.Items("groups").Take(GroupsMax))
        {
            string version = group.Get("preferredVersion").Text("groupVersion");
            if (version.Length > 0)
            {
                await AddAsync(client, "/apis/" + version, version, all, failures, cancellation);
            }
        }

        return new Discovered(all, failures);
    }

    private static async Task AddAsync(
        KubeClient client, string path, string groupVersion, List<ApiResource> all, List<string> failures, CancellationToken cancellation)
    {
        KubeObject list;
        try
        {
            list = await client.GetPathAsync(path, cancellation);
        }
        catch (StatusException e)
        {
            failures.Add($"{groupVersion}: {e.Message}");
            return;
        }

        int slash = groupVersion.IndexOf('/', StringComparison.Ordinal);
        string group = slash < 0 ? "" : groupVersion[..slash];
        string version = groupVersion[(slash + 1)..];
        foreach (JsonElement r in list.Root.Items("resources"))
        {
            string name = r.Text("name");
            if (name.Length > 0 && !name.Contains('/', StringComparison.Ordinal))
            {
                all.Add(new ApiResource(new GroupVersionResource(group, version, name), r.Text("kind"), r.Bool("namespaced"),
                    r.Items("verbs").Select(v => v.GetString() ?? "").ToHashSet(StringComparer.Ordinal)));
            }
        }
    }
}
