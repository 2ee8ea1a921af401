using System.Runtime.InteropServices;
using Kapell.Base;
using Kapell.Etcd.Server.Backups;
using Kapell.Etcd.Server.Comparison;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Rpc;
using Kapell.Etcd.Server.Snapshots;
using Kapell.Storage;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server;

/// <summary>
/// The component <c>etcd</c>: one member of the store. Exit codes: 0 stopped when asked, 1 it cannot run (the line says why and what to
/// do), 2 the flags cannot be read. etcd: flags that can be read and contradict each other are a 1.
/// </summary>
public static class EtcdCommand
{
    private const int Failed = 1;
    private const int BadFlags = 2;

    public static async Task<int> RunAsync(
        IReadOnlyList<string> args, TimeProvider time, ulong seed, ILoggerFactory logs, TextWriter output, CancellationToken stopping)
    {
        EtcdFlags flags = new();
        EtcdOptions options;
        try
        {
            flags.Parse(args, Environment.GetEnvironmentVariable);
            if (flags.HelpWanted)
            {
                await output.WriteLineAsync(flags.Help());
                return 0;
            }

            if (flags.VersionWanted)
            {
                await output.WriteLineAsync(VersionText());
                return 0;
            }

        }
        catch (FlagException e)
        {
            await output.WriteLineAsync($"etcd: {e.Message} (see etcd --help)");
            return BadFlags;
        }

        try
        {
            // Everything that is wrong with the settings is found before the data directory is touched.
            options = flags.ToOptions();
            TlsSettings.Load(options.Tls);
        }
        catch (FlagException e)
        {
            await output.WriteLineAsync($"etcd: error verifying flags, {e.Message}. See 'etcd --help'.");
            return Failed;
        }

        try
        {
            return await ServeAsync(options, time, new Prng(seed), logs, output, stopping);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            return 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException or FlagException)
        {
            await output.WriteLineAsync($"etcd: {e.Message}");
            return Failed;
        }
    }

    private static async Task<int> ServeAsync(
        EtcdOptions options, TimeProvider time, Prng prng, ILoggerFactory logs, TextWriter output, CancellationToken stopping)
    {
        ILogger logger = logs.CreateLogger("etcd");
        FileDisk disk = new();
        disk.CreateDirectory(options.DataDirectory);
        using DirectoryLock directoryLock = DirectoryLock.Acquire(options.DataDirectory);
        options = WithOwnCertificates(options, time);
        ReplicaSettings settings = new()
        {
            DataDirectory = options.DataDirectory,
            DedicatedWalDirectory = options.WalDirectory,
            PreVote = options.PreVote,
            TickMilliseconds = options.HeartbeatMilliseconds,
            ElectionTicks = options.ElectionMilliseconds / options.HeartbeatMilliseconds,
            QuotaBytes = options.Limits.QuotaBytes,
            ForceNewCluster = options.ForceNewCluster,
            LeaseCheckpoints = options.LeaseCheckpoints,
            PromoteLearnersAfter = options.PromoteLearnersAfter,
        };
        TlsSettings? peerTls = TlsSettings.Load(options.PeerTls);
        HttpClient peers = PeerClient.Create(peerTls);
        if (!ReplicaLoader.IsThere(disk, settings))
        {
            settings = settings with { Founding = await FoundAsync(options, peers, stopping) };
            if (!options.JoinsExisting)
            {
                FoundingToken.Write(disk, options.DataDirectory, options.ClusterToken);
            }
        }
        else
        {
            FoundingToken.Verify(disk, options.DataDirectory, options.ClusterToken, EtcdFlags.TokenDefault);
        }

        LoadedReplica loaded = await Task.Run(() => ReplicaLoader.Load(disk, settings, prng.Split()), stopping);
        Log.Loaded(logger, options.DataDirectory, loaded.Story);
        await using ReplicaHost host = new(loaded, disk, settings, options.SnapshotCount, time, prng.Split(), logger);
        PeerContext context = new(loaded.Replica.ClusterId, loaded.Replica.Raft.Id.Value, options.InitialAdvertisePeerUrls, peers, host, time, logger);
        await using PeerTransport transport = new(context, disk, settings.CheckpointDirectory);
        host.Connect(transport);
        loaded.Replica.Applier.Tokens.Lifetime = options.Auth.SimpleTokenLifetime;
        SnapshotReceiver receiver = new(disk, settings.CheckpointDirectory, loaded.Replica.ClusterId);
        receiver.CleanUp();
        LeaderCalls leader = new(host, transport);
        MembershipRules rules = new(host, options.StrictReconfigCheck, transport.IsConnected, prng.Split()) { VotersMin = options.VotersMin };
        await using PeerServer peerServer =
            await PeerServer.StartAsync(options.ListenPeerUrls, peerTls, host, transport, receiver, leader, logs, stopping);
        await using BackupKeeper? backups = options.Backups is { } kept ? new BackupKeeper(disk, kept, host, logger) : null;
        host.Backups = backups;
        host.Start();
        backups?.Start();
        ComparisonState comparison = new();
        if (options.InitialCorruptCheck)
        {
            await InitialComparison.RunAsync(host, new PeerComparison(host, transport, connected: false), loaded.HardState.Commit, logger, stopping);
        }

        SnapshotFiles snapshots = new(disk, Path.Combine(options.DataDirectory, "member", "outgoing"));
        await using EtcdServer server = await EtcdServer.StartAsync(options, host, snapshots, leader, rules, comparison, prng.Split(), logs, stopping);
        Log.Serving(logger, string.Join(", ", options.ListenClientUrls));
        ComparisonLoop comparing = new(host, new PeerComparison(host, transport, connected: true), comparison, options.ComparisonInterval, logger);
        AutoCompactor compactor = new(host, options, logger);
        using CancellationTokenSource ending = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        Task attributes = MemberAttributes.PublishAsync(host, options, ending.Token);
        Task compacting = Task.WhenAll(compactor.RunAsync(ending.Token), comparing.RunAsync(ending.Token));
        Task asked = Task.Delay(Timeout.InfiniteTimeSpan, time, ending.Token);
        await Task.WhenAny(asked, host.Ended);
        await ending.CancelAsync();
        await Task.WhenAll(attributes, compacting);
        if (stopping.IsCancellationRequested || await host.Ended is not { } cause)
        {
            return 0;
        }

        Log.Failed(logger, cause);
        await output.WriteLineAsync($"etcd: {cause.Message}");
        return Failed;
    }

    // etcd: embed/config.go ClientSelfCert, PeerSelfCert
    private static EtcdOptions WithOwnCertificates(EtcdOptions options, TimeProvider time)
    {
        string fixtures = Path.Combine(options.DataDirectory, "fixtures");
        ServerTls Own(string name, IEnumerable<string> urls, ServerTls rules) =>
            SelfSigned.Ensure(Path.Combine(fixtures, name), urls, options.SelfSignedYears, rules, time.GetUtcNow());
        return options with
        {
            Tls = options.AutoTls ? Own("client", options.ListenClientUrls.Concat(options.AdvertiseClientUrls), options.Tls) : options.Tls,
            PeerTls = options.PeerAutoTls ? Own("peer", options.ListenPeerUrls.Concat(options.InitialAdvertisePeerUrls), options.PeerTls) : options.PeerTls,
        };
    }

    private static async Task<Founding> FoundAsync(EtcdOptions options, HttpClient peers, CancellationToken stopping)
    {
        if (options.JoinsExisting)
        {
            return await ClusterJoin.ExistingAsync(options, peers, stopping);
        }

        Founding founding = ClusterJoin.New(options);
        await ClusterJoin.RefuseSecondLifeAsync(options, founding, peers, stopping);
        return founding;
    }

    // etcd: etcdmain/etcd.go prints these four lines.
    private static string VersionText() =>
        $"etcd Version: {EtcdVersion.Server}\nGit SHA: Kapell\nGo Version: none ({RuntimeInformation.FrameworkDescription})\n"
        + $"Go OS/Arch: linux/{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";
}
