using System.Globalization;
using System.Reflection;
using Kapell.Sim.World;

namespace Kapell.Sim;

/// <summary>Without arguments of its own it is the runner of the tests; with <c>--hours H</c>, <c>--seeds FIRST COUNT</c> or <c>--seed S</c> it simulates
/// (<c>--trace S</c>: and says what happens).</summary>
internal static class Program
{
    public static int Main(string[] args) => args switch
    {
        ["--hours", string hours] => RunHours(double.Parse(hours, CultureInfo.InvariantCulture)),
        ["--seeds", string first, string count] => RunSeeds(ulong.Parse(first, CultureInfo.InvariantCulture), ulong.Parse(count, CultureInfo.InvariantCulture)),
        ["--trace", string seed] => RunSeed(ulong.Parse(seed, CultureInfo.InvariantCulture), verbose: true, Console.WriteLine) ? 0 : 1,
        ["--seed", string seed] => RunSeed(ulong.Parse(seed, CultureInfo.InvariantCulture), verbose: true) ? 0 : 1,
        _ => Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args).GetAwaiter().GetResult(),
    };

    private static int RunHours(double hours)
    {
        long begun = TimeProvider.System.GetTimestamp();
        ulong first = (ulong)TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() * 1000;
        ulong runs = 0;
        int failures = 0;
        for (; TimeProvider.System.GetElapsedTime(begun).TotalHours < hours; runs++)
        {
            failures += RunSeed(first + runs, verbose: runs % 100 == 0) ? 0 : 1;
        }

        Console.WriteLine($"{runs} runs from seed {first}, {failures} failures, commit {Commit}");
        return failures == 0 ? 0 : 1;
    }

    private static int RunSeeds(ulong first, ulong count)
    {
        int failures = 0;
        for (ulong seed = first; seed < first + count; seed++)
        {
            failures += RunSeed(seed, verbose: false) ? 0 : 1;
        }

        Console.WriteLine($"{count} runs from seed {first}, {failures} failures, commit {Commit}");
        return failures == 0 ? 0 : 1;
    }

    private static bool RunSeed(ulong seed, bool verbose, Action<string>? trace = null)
    {
        try
        {
            RunReport report = RandomRun.Of(seed, trace: trace);
            if (verbose)
            {
                Console.WriteLine(report);
            }

            return true;
        }
        catch (SimulationFailedException e)
        {
            Console.WriteLine($"FAILED commit={Commit} {e}");
            return false;
        }
    }

    private static string Commit => Assembly.GetExecutingAssembly().GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";
}
