using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Http;

/// <summary>One named check; the text says what is wrong, null that nothing is.</summary>
internal sealed record HealthCheck(string Name, Func<CancellationToken, Task<string?>> Run);

/// <summary>/healthz, /livez, /readyz (with ?verbose and exclude), single checks below them, /version and /metrics.</summary>
internal sealed class HealthEndpoints(IReadOnlyList<HealthCheck> live, IReadOnlyList<HealthCheck> ready, MetricsRegistry metrics, BuildInfo build)
{
    /// <summary>Open to everyone (upstream: role system:public-info-viewer).</summary>
    public static bool IsPublic(string path) => path is "/healthz" or "/livez" or "/readyz" or "/version" or "/version/";

    public async Task<bool> TryHandleAsync(HttpContext context, RequestInfo info, CancellationToken cancel)
    {
        switch (info.Path)
        {
            case "/version" or "/version/":
                await Responses.WriteAsync(context, 200, build.ToJson(), OutputFormat.ForErrors(context.Request) with { Pretty = true }, cancel);
                return true;
            case "/metrics":
                await Responses.WriteBytesAsync(context, 200, "text/plain; version=0.0.4; charset=utf-8", Encoding.UTF8.GetBytes(metrics.Expose()), false, cancel);
                return true;
            default:
                break;
        }

        foreach ((string root, IReadOnlyList<HealthCheck> checks) in ((string, IReadOnlyList<HealthCheck>)[])
            [("/healthz", ready), ("/livez", live), ("/readyz", ready)])
        {
            if (info.Path == root || info.Path == root + "/")
            {
                await AllAsync(context, root[1..], checks, cancel);
                return true;
            }

            if (info.Path.StartsWith(root + "/", StringComparison.Ordinal)
                && checks.FirstOrDefault(c => c.Name == info.Path[(root.Length + 1)..]) is { } one)
            {
                string? why = await one.Run(cancel);
                await Responses.WriteTextAsync(context, why is null ? 200 : 500, why is null ? "ok" : $"internal server error: {why}\n", cancel);
                return true;
            }
        }

        return false;
    }

    // upstream: server/healthz handleRootHealth
    private static async Task AllAsync(HttpContext context, string name, IReadOnlyList<HealthCheck> checks, CancellationToken cancel)
    {
        StringBuilder text = new();
        HashSet<string> excluded = [.. context.Request.Query["exclude"].OfType<string>()];
        bool failed = false;
        foreach (HealthCheck check in checks)
        {
            if (excluded.Contains(check.Name))
            {
                text.Append("[+]").Append(check.Name).Append(" excluded: ok\n");
                continue;
            }

            bool ok = await check.Run(cancel) is null;
            failed |= !ok;
            text.Append(ok ? "[+]" : "[-]").Append(check.Name).Append(ok ? " ok\n" : " failed: reason withheld\n");
        }

        if (failed)
        {
            await Responses.WriteTextAsync(context, 500, $"{text}{name} check failed\n", cancel);
            return;
        }

        bool verbose = context.Request.Query.ContainsKey("verbose");
        await Responses.WriteTextAsync(context, 200, verbose ? $"{text}{name} check passed\n" : "ok", cancel);
    }
}

/// <summary>What /version says.</summary>
internal sealed record BuildInfo(string GitVersion, string Major, string Minor)
{
    public static BuildInfo Kapell { get; } = new(Client.KubernetesVersion.Reported, "1", "35");

    public JsonObject ToJson() => new()
    {
        ["major"] = Major, ["minor"] = Minor, ["emulationMajor"] = Major, ["emulationMinor"] = Minor, ["minCompatibilityMajor"] = Major,
        ["minCompatibilityMinor"] = "34", ["gitVersion"] = GitVersion, ["gitCommit"] = "", ["gitTreeState"] = "clean", ["buildDate"] = "1970-01-01T00:00:00Z",
        ["goVersion"] = RuntimeInformation.FrameworkDescription, ["compiler"] = "ryujit",
        ["platform"] = "linux/" + (RuntimeInformation.ProcessArchitecture == Architecture.X64 ? "amd64" : RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()),
    };
}
