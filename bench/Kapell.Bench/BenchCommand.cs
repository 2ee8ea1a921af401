using Grpc.Core;
using Kapell.Base;
using Kapell.Bench.Etcd;
using Kapell.Bench.Kubernetes;

namespace Kapell.Bench;

/// <summary>One target, or two in turn.</summary>
internal static class BenchCommand
{
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, CancellationToken cancellation)
    {
        BenchOptions options = new();
        if (!options.Parse(args))
        {
            await output.WriteLineAsync(options.Help);
            return 0;
        }

        List<Contender> contenders = [new("A", options.Target.Value, options.ServerPid.Value, options)];
        if (options.Versus.Value.Length > 0)
        {
            contenders.Add(new Contender("B", options.Versus.Value, options.VersusPid.Value, options));
        }

        try
        {
            foreach (Contender contender in contenders)
            {
                await output.WriteLineAsync($"{contender.Name} = {contender.Target}");
                await contender.Scenario.PrepareAsync(cancellation);
                await contender.Runner.WarmUpAsync(cancellation);
            }

            int rounds = contenders.Count > 1 ? options.Rounds.Value : 1;
            await output.WriteLineAsync(Report.Header(options));
            for (int round = 0; round < rounds; round++)
            {
                foreach (Contender contender in contenders)
                {
                    RunResult result = await contender.Runner.RunAsync(cancellation);
                    contender.Results.Add(result);
                    await output.WriteLineAsync(Report.Line(contender.Name, result));
                }
            }

            if (contenders.Count > 1)
            {
                await output.WriteLineAsync(Report.Compare(contenders[0].Results, contenders[1].Results));
            }

            return contenders.Any(c => c.Results.Any(r => r.Errors > 0)) ? 1 : 0;
        }
        catch (Exception e) when (e is RpcException or HttpRequestException or IOException or Client.KubeconfigException
            or Machinery.StatusException)
        {
            cancellation.ThrowIfCancellationRequested();
            await output.WriteLineAsync($"cannot run the benchmark: {e.Message}. Is the target up, and is its URL right?");
            return 1;
        }
        finally
        {
            foreach (Contender contender in contenders)
            {
                await contender.Scenario.DisposeAsync();
            }
        }
    }

    private sealed class Contender
    {
        public Contender(string name, string target, int pid, BenchOptions options)
        {
            (Name, Target) = (name, target);
            Scenario = Open(target, options);
            Runner = new Runner(options, Scenario, [pid]);
        }

        public string Name { get; }

        public string Target { get; }

        public IScenario Scenario { get; }

        public Runner Runner { get; }

        public List<RunResult> Results { get; } = [];
    }

    public static IScenario Open(string target, BenchOptions options) => options.Scenario switch
    {
        "put" => new PutScenario(target, options),
        "range" => new RangeScenario(target, options, serializable: false),
        "range-serial" => new RangeScenario(target, options, serializable: true),
        "list" => new ListScenario(target, options),
        "txn" => new TxnScenario(target, options),
        "watch" => new WatchScenario(target, options),
        "lease" => new LeaseScenario(target, options),
        "kube-create" => new KubeScenario(target, options, KubeOperation.Create),
        "kube-get" => new KubeScenario(target, options, KubeOperation.Get),
        "kube-list" => new KubeScenario(target, options, KubeOperation.List),
        "kube-patch" => new KubeScenario(target, options, KubeOperation.Patch),
        "kube-watch" => new KubeWatchScenario(target, options),
        _ => throw new FlagException($"unknown scenario \"{options.Scenario}\""),
    };
}
