using System.Runtime.CompilerServices;

namespace Kapell.Tidy;

/// <summary>The checkout under test: the folder above this source file that holds the solution.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    public static IEnumerable<string> Files(string pattern, params string[] folders) => folders
        .Select(f => Path.Combine(Root, f)).Where(Directory.Exists)
        .SelectMany(f => Directory.EnumerateFiles(f, pattern, SearchOption.AllDirectories))
        .Where(f => !f.Contains("/obj/", StringComparison.Ordinal) && !f.Contains("/bin/", StringComparison.Ordinal));

    public static string Relative(string path) => Path.GetRelativePath(Root, path);

    private static string FindRoot([CallerFilePath] string self = "")
    {
        string? folder = File.Exists(self) ? Path.GetDirectoryName(self) : AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Kapell.slnx")))
        {
            folder = Path.GetDirectoryName(folder);
        }

        return folder ?? throw new DirectoryNotFoundException("Kapell.slnx is in no folder above the tests");
    }
}
