namespace Kapell.Conformance.Etcd;

/// <summary>Where the programs lie.</summary>
internal static class Programs
{
    public static string Kapell { get; } = Path.GetFullPath(Path.Combine(
        AppContext.BaseDirectory, "..", "..", "..", "..", "..", "src", "Kapell", "bin", "Release", "net10.0", "kapell"));

    public static string? Etcd { get; } = OnPath("etcd");

    public static string? Etcdctl { get; } = OnPath("etcdctl");

    private static string? OnPath(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Select(d => Path.Combine(d, name)).FirstOrDefault(File.Exists);
}
