using Kapell.Base;
using Kapell.Client;
using Kapell.Client.Election;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Scheduler.Framework;
using Kapell.Scheduler.Plugins.NodeAffinity;
using Kapell.Scheduler.Plugins.NodeName;
using Kapell.Scheduler.Plugins.NodePorts;
using Kapell.Scheduler.Plugins.NodeResources;
using Kapell.Scheduler.Plugins.NodeUnschedulable;
using Kapell.Scheduler.Plugins.TaintToleration;
using Microsoft.Extensions.Logging;

namespace Kapell.Scheduler;

/// <summary><c>kapell scheduler</c>, with kube-scheduler's flags.</summary>
public static class SchedulerCommand
{
    /// <summary>Runs until <paramref name="stopping"/>; 0 then, 1 when it could not start or lost its lease.</summary>
    public static async Task<int> RunAsync(
        IReadOnlyList<string> args, TimeProvider time, ulong seed, ILoggerFactory logs, TextWriter output, CancellationToken stopping)
    {
        FlagSet flags = new("kapell scheduler", "Places pods that have no node, from the API server's watch.");
        FlagValue<string> kubeconfig = flags.String("kubeconfig", "", "Path of the kubeconfig for the API server.");
        FlagValue<string> name = flags.String("scheduler-name", "default-scheduler", "Pods with this spec.schedulerName are placed.");
        FlagValue<int> securePort = flags.Int("secure-port", 0, "Only 0 (no port of its own) is served by this version.");
        flags.Group("Leader election");
        FlagValue<bool> elect = flags.Bool("leader-elect", true, "Work only while holding the lease.");
        FlagValue<string> identity = flags.String("leader-elect-identity", "",
            "Who we are in the lease; empty for host name and a random part. A fixed one takes its own lease again at once after a crash.");
        FlagValue<string> leaseName = flags.String("leader-elect-resource-name", "kube-scheduler", "Name of the Lease.");
        FlagValue<string> leaseNamespace = flags.String("leader-elect-resource-namespace", "kube-system", "Namespace of the Lease.");
        FlagValue<TimeSpan> duration = flags.Duration("leader-elect-lease-duration", TimeSpan.FromSeconds(15), "How long a silent leader is waited for.");
        FlagValue<TimeSpan> deadline = flags.Duration("leader-elect-renew-deadline", TimeSpan.FromSeconds(10), "How long the leader tries to renew before it gives up.");
        FlagValue<TimeSpan> retry = flags.Duration("leader-elect-retry-period", TimeSpan.FromSeconds(2), "Pause between tries.");
        flags.Examples.Add("kapell scheduler --kubeconfig=/etc/kubernetes/scheduler.conf");
        try
        {
            flags.Parse(args);
            if (flags.HelpWanted)
            {
                await output.WriteAsync(flags.Help());
                return 0;
            }

            if (securePort.Value != 0)
            {
                throw new FlagException("--secure-port: only 0 is served by this version");
            }

            if (kubeconfig.Value.Length == 0)
            {
                throw new FlagException("--kubeconfig is needed: the API server to work for");
            }

            using KubeClient client = new(Kubeconfig.LoadRestConfig(kubeconfig.Value).WithUserAgent("kube-scheduler/v1.35.0 (linux/amd64) kapell"), time, logs);
            Prng random = new(seed);
            string host = Environment.MachineName;
            LeaderElectionOptions election = new()
            {
                Name = leaseName.Value, Namespace = leaseNamespace.Value, LeaseDuration = duration.Value, RenewDeadline = deadline.Value, RetryPeriod = retry.Value,
                Identity = identity.Value.Length > 0 ? identity.Value : $"{host}_{random.NextUInt64():x16}",
            };
            return await RunAsync(client, elect.Value ? election : null, name.Value, host, random, time, logs, output, stopping);
        }
        catch (Exception e) when (e is FlagException or KubeconfigException)
        {
            await output.WriteLineAsync($"kapell scheduler: {e.Message}\n  next: kapell scheduler --help");
            return 2;
        }
    }

    private static async Task<int> RunAsync(
        KubeClient client, LeaderElectionOptions? election, string schedulerName, string host, Prng random, TimeProvider time, ILoggerFactory logs, TextWriter output, CancellationToken stopping)
    {
        ILogger log = logs.CreateLogger("Kapell.Scheduler");
        EventRecorder events = new(client, schedulerName, host, time, log);
        using CancellationTokenSource recording = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        Task recorder = events.RunAsync(recording.Token);
        Prng lots = random.Split();
        Prng jitter = random.Split();
        NodeResourcesFitPlugin fit = new();
        TaintTolerationPlugin taints = new();
        NodeAffinityPlugin affinity = new();
        SchedulingAlgorithm algorithm = new(
            [new NodeUnschedulablePlugin(), new NodeNamePlugin(), taints, affinity, new NodePortsPlugin(), fit],
            [taints, affinity, fit, new NodeResourcesBalancedAllocationPlugin()], lots);
        async Task Lead(CancellationToken leading)
        {
            using SchedulerLoop loop = new(client, new InformerFactory(client, time, jitter, logs), algorithm, events, schedulerName, time, log);
            await loop.RunAsync(leading);
        }

        bool kept = true;
        if (election is null)
        {
            await Lead(stopping);
        }
        else
        {
            kept = await new LeaderElector(client, election, time, random.Split(), logs.CreateLogger("Kapell.Client.Election")).RunAsync(Lead, stopping);
        }

        await recording.CancelAsync();
        await recorder;
        if (!kept)
        {
            await output.WriteLineAsync($"kapell scheduler: the lease {election!.Namespace}/{election.Name} was lost to another or could not be renewed\n" +
                "  next: is the API server reachable? Start the scheduler again");
        }

        return kept ? 0 : 1;
    }
}
