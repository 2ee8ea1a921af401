using System.Text.Json;
using Kapell.Base;
using Kapell.Client;
using Kapell.Client.Election;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Microsoft.Extensions.Logging;

namespace Kapell.Controllers;

/// <summary>kube-controller-manager: upstream's flags, one leader at a time, all controllers over shared caches.</summary>
public static class ControllerManagerCommand
{
    private const string UserAgent = "kube-controller-manager/v1.35.0 (linux/amd64) kubernetes/kapell";

    /// <summary>Runs until <paramref name="stopping"/> or until leadership is lost (exit code 1, as upstream: the supervisor starts it again).</summary>
    public static async Task<int> RunAsync(
        IReadOnlyList<string> args, TimeProvider time, ulong seed, ILoggerFactory logs, TextWriter output, CancellationToken stopping)
    {
        ControllerManagerFlags flags = new();
        try
        {
            flags.Set.Parse(args);
            if (flags.Set.HelpWanted)
            {
                await output.WriteAsync(flags.Set.Help());
                return 0;
            }

            flags.Check();
            RestConfig config = Kubeconfig.LoadRestConfig(flags.Kubeconfig.Value) with
            {
                UserAgent = UserAgent, Qps = flags.Qps.Value, Burst = flags.Burst.Value,
            };
            return await RunAsync(flags, config, time, new Prng(seed), logs, output, stopping);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            return 0;
        }
        catch (Exception e) when (e is FlagException or KubeconfigException or IOException or UnauthorizedAccessException)
        {
            await output.WriteLineAsync($"kube-controller-manager: {e.Message}");
            return 1;
        }
    }

    private static async Task<int> RunAsync(
        ControllerManagerFlags flags, RestConfig config, TimeProvider time, Prng random, ILoggerFactory logs, TextWriter output,
        CancellationToken stopping)
    {
        ILogger log = logs.CreateLogger("Kapell.Controllers");
        using ControllerClients clients = new(config, flags.ServiceAccountCredentials.Value, time, logs);
        if (!flags.LeaderElect.Value)
        {
            await LeadAsync(flags, clients, time, random, logs, log, stopping);
            return 0;
        }

        LeaderElectionOptions election = new()
        {
            Namespace = flags.LeaseNamespace.Value, Name = flags.LeaseName.Value,
            Identity = flags.LeaderElectIdentity.Value.Length > 0
                ? flags.LeaderElectIdentity.Value
                : $"{Environment.MachineName.ToLowerInvariant()}_{random.NextUInt64():x16}",
            LeaseDuration = flags.LeaseDuration.Value, RenewDeadline = flags.RenewDeadline.Value, RetryPeriod = flags.RetryPeriod.Value,
        };
        LeaderElector elector = new(clients.Root("leader-election"), election, time, random.Split(), log);
        bool kept = await elector.RunAsync(token => LeadAsync(flags, clients, time, random, logs, log, token), stopping);
        if (!kept)
        {
            await output.WriteLineAsync($"kube-controller-manager: leader election lost ({election.Namespace}/{election.Name}); start it again to stand for election");
        }

        return kept ? 0 : 1;
    }

    private static async Task LeadAsync(
        ControllerManagerFlags flags, ControllerClients clients, TimeProvider time, Prng random, ILoggerFactory logs, ILogger log,
        CancellationToken cancellation)
    {
        InformerFactory informers = new(clients.Root("shared-informers"), time, random.Split(), logs);
        ControllerContext context = new(flags.Options(), clients, informers, time, random.Split(), logs);
        List<(string Name, IController Controller)> running = [];
        foreach ((string name, string alias, Func<ControllerContext, IController?> create) in ControllerRegistry.All)
        {
            if (ControllerRegistry.IsEnabled(flags.Controllers.Value, name, alias) && create(context) is { } controller)
            {
                running.Add((name, controller));
            }
        }

        await clients.PrepareAsync(cancellation);
        Log.Started(log, running.Count, string.Join(' ', running.Select(r => r.Name)));
        using CancellationTokenSource all = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        List<Task> tasks = [informers.RunAsync(all.Token), clients.RunAsync(all.Token)];
        foreach (EventRecorder recorder in context.Recorders)
        {
            tasks.Add(recorder.RunAsync(all.Token));
        }

        foreach ((string _, IController controller) in running)
        {
            tasks.Add(Task.Run(() => controller.RunAsync(all.Token), CancellationToken.None));
        }

        // One that ends takes the rest with it: half a controller manager helps nobody, and the lease must be free for a whole one.
        await Task.WhenAny(tasks);
        await all.CancelAsync();
        try
        {
            await Task.WhenAll(tasks);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
        }
    }
}
