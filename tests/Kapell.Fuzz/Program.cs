using System.Globalization;
using Kapell.Fuzz.Inputs;
using Kapell.Fuzz.Live;
using Kapell.Fuzz.Targets;

namespace Kapell.Fuzz;

/// <summary>
/// Wrong input for every place where bytes from outside come in.
/// <code>
/// Kapell.Fuzz [--seconds S] [--seed N] [--only NAME]   each target for S seconds (default 2), then the live part as long
/// Kapell.Fuzz --again NAME FILE                        one kept input once more
/// </code>
/// Prints one line a target with the number of inputs; exit code 0 when nothing was found.
/// </summary>
internal static class Program
{
    private const int ResidentMegabytesMax = 1500;

    public static async Task<int> Main(string[] args)
    {
        string findings = Text(args, "--findings") ?? Path.Combine(Path.GetTempPath(), "kapell-fuzz");
        Runner runner = new(findings);
        TaskScheduler.UnobservedTaskException += (_, e) => runner.Note($"an exception that nobody saw: {e.Exception.GetBaseException()}");
        runner.WatchOver();
        int again = Array.IndexOf(args, "--again");
        if (again >= 0)
        {
            Console.WriteLine(runner.One(Make().First(t => t.Name == args[again + 1]), await File.ReadAllBytesAsync(args[again + 2])) ? "accepted" : "refused");
            return runner.Found.Count == 0 ? 0 : 1;
        }

        double seconds = double.Parse(Text(args, "--seconds") ?? "2", CultureInfo.InvariantCulture);
        ulong seed = ulong.Parse(Text(args, "--seed") ?? "1", CultureInfo.InvariantCulture);
        string? only = Text(args, "--only");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"fuzz: {seconds} s a target, seed {seed}"));
        foreach (FuzzTarget target in Make().Where(t => only is null || t.Name == only))
        {
            runner.Run(target, TimeSpan.FromSeconds(seconds), seed);
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        if (Environment.WorkingSet >> 20 > ResidentMegabytesMax)
        {
            runner.Note($"{Environment.WorkingSet >> 20} MB are resident after all");
        }

        if (only is null or "live")
        {
            await new LiveFuzz(runner, seed, int.Parse(Text(args, "--port") ?? "32400", CultureInfo.InvariantCulture)).RunAsync(TimeSpan.FromSeconds(seconds));
        }

        Console.WriteLine(runner.Found.Count == 0 ? "ok nothing was found" : $"not ok {runner.Found.Count} findings, inputs in {findings}");
        return runner.Found.Count == 0 ? 0 : 1;
    }

    private static IEnumerable<FuzzTarget> Make() =>
    [
        new HpackTarget(), new Http2Target(), new RequestTarget(), new GatewayTarget(), new PeerTarget(), new CheckpointTarget(), new LogTarget(),
        new DatabaseTarget(), new SettingsTarget(), new TokenTarget(),
    ];

    private static string? Text(string[] args, string name) => Array.IndexOf(args, name) is >= 0 and int at && at + 1 < args.Length ? args[at + 1] : null;
}
