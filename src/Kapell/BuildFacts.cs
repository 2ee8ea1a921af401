using System.Reflection;

namespace Kapell.Cli;

/// <summary>What this build is.</summary>
internal static class BuildFacts
{
    public static string Version { get; } =
        typeof(BuildFacts).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0.0.0";
}
