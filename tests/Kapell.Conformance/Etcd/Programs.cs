namespace Kapell.Conformance.Etcd;

/// <summary>Where the programs lie.</summary>
internal static class Programs
{
    /// <summary>Our program: the one built beside these tests; <c>KAPELL_PROGRAM</c> names another one.</summary>
    public static string Kapell { get; } = Environment.GetEnvironmentVariable("KAPELL_PROGRAM") is { Length: > 0 } named
        ? named
        : Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "..", "src", "Kapell", "bin", "Release", "net10.0", "kapell"));

    public static string? Etcd { get; } = OnPath("etcd");

    public static string? Etcdctl { get; } = OnPath("etcdctl");

    private static string? OnPath(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Select(d => Path.Combine(d, name)).FirstOrDefault(File.Exists);
}
