using System.Net;
using System.Runtime.InteropServices;
using Kapell.Base;
using Kapell.Etcd.Server.Backups;
using Kapell.Etcd.Server.Comparison;
using Kapell.Etcd.Server.Discovery;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http;
using Kapell.Etcd.Server.Logging;
using Kapell.Etcd.Server.Metrics;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Proxies;
using Kapell.Etcd.Server.Rpc;
using Kapell.Etcd.Server.Snapshots;
using Kapell.Etcd.Server.Takeover;
using Kapell.Storage;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server;

/// <summary>
/// The component <c>etcd</c>: one member of the store. Exit codes: 0 stopped when asked, 1 it cannot run (the line says why and what to
/// do), 2 the command line cannot be read. etcd: flags that can be read and contradict each other are a 1, and so are variables and files.
/// </summary>
public static class EtcdCommand
{
    private const long RemainsMin = 32 << 20;
    private const int Failed = 1;
    private const int BadFlags = 2;
    private const int PeerSilenceElections = 2;
    private static readonly TimeSpan JoinPatience = TimeSpan.FromSeconds(5);

    /// <summary>A member beside other components: it logs where they do.</summary>
    public static Task<int> RunAsync(
        IReadOnlyList<string> args, TimeProvider time, ulong seed, ILoggerFactory logs, TextWriter output, CancellationToken stopping) =>
        RunAsync(args, null, time, new Prng(seed), _ => logs, (output, output), stopping);

    /// <summary>A member, or one of the proxies, that is the whole process: it logs as the flags say.</summary>
    public static async Task<int> RunAloneAsync(
        IReadOnlyList<string> args, TimeProvider time, ulong seed, TextWriter stdout, TextWriter stderr, CancellationToken stopping)
    {
        if (args.Count > 0 && args[0] is "gateway" or "grpc-proxy")
        {
            string[] rest = [.. args.Skip(1)];
            return args[0] == "gateway"
                ? await GatewayCommand.RunAsync(rest, time, new Prng(seed), (stdout, stderr), stopping)
                : await GrpcProxyCommand.RunAsync(rest, time, new Prng(seed), (stdout, stderr), stopping);
        }

        EtcdLogs? logs = null;
        try
        {
            return await RunAsync(
                args, Environment.GetEnvironmentVariables().Keys.Cast<string>(), time, new Prng(seed),
                settings => logs = new EtcdLogs(settings, time, stdout, stderr), (stdout, stderr), stopping);
        }
        finally
        {
            logs?.Dispose();
        }
    }

    private static async Task<int> RunAsync(
        IReadOnlyList<string> args, IEnumerable<string>? variables, TimeProvider time, Prng prng, Func<LogSettings, ILoggerFactory> logging,
        (TextWriter Out, TextWriter Error) console, CancellationToken stopping)
    {
        EtcdFlags flags = new();
        EtcdOptions options;
        ILoggerFactory logs;
        try
        {
            flags.Parse(args, Environment.GetEnvironmentVariable, variables);
            if (flags.HelpWanted || flags.VersionWanted)
            {
                await console.Out.WriteLineAsync(flags.HelpWanted ? flags.Help() : VersionText());
                return 0;
            }

            // Everything that is wrong with the settings is found before the data directory is touched.
            options = flags.ToOptions();
            TlsSettings.Load(options.Tls);
            logs = logging(flags.Logs());
        }
        catch (FlagException e) when (!flags.LineIsRead)
        {
            await console.Error.WriteLineAsync($"etcd: {e.Message} (see etcd --help)");
            return BadFlags;
        }
        catch (Exception e) when (e is FlagException or IOException or UnauthorizedAccessException)
        {
            await console.Error.WriteLineAsync($"etcd: error verifying flags, {e.Message.TrimEnd('.')}. See 'etcd --help'.");
            return Failed;
        }

        try
        {
            int code = await ServeAsync(options, time, prng, logs, console.Error, stopping);
            Log.Closed(logs.CreateLogger("etcd"), options.Name, options.DataDirectory);
            return code;
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            return 0;
        }
        catch (MemberRemovedException e)
        {
            Log.Removed(logs.CreateLogger("etcd"), e.Message);
            return 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException or FlagException)
        {
            await console.Error.WriteLineAsync($"etcd: {e.Message}");
            return Failed;
        }
    }

    private static void Announce(EtcdOptions options, ILogger logger)
    {
        foreach (string notice in options.Notices)
        {
            Log.Notice(logger, notice);
        }

        Log.Starting(
            logger, EtcdVersion.Server, options.Name, options.DataDirectory, options.SnapshotCount, CheckpointTaker.BytesBetween(0) >> 20, options.Retention.Entries,
            Math.Min(options.Retention.Entries, options.Retention.EntriesAlone), options.HeartbeatMilliseconds, options.ElectionMilliseconds,
            options.Limits.QuotaBytes, "write-only");
    }

    private static async Task<int> ServeAsync(
        EtcdOptions options, TimeProvider time, Prng prng, ILoggerFactory logs, TextWriter output, CancellationToken stopping)
    {
        ILogger logger = logs.CreateLogger("etcd");
        IDisk disk = options.UnsafeNoFsync ? new UnsyncedDisk(new FileDisk()) : new FileDisk();
        disk.CreateDirectory(options.DataDirectory);
        using DirectoryLock directoryLock = DirectoryLock.Acquire(options.DataDirectory);
        Announce(options, logger);
        options = WithOwnCertificates(options, time);
        ReplicaSettings settings = new()
        {
            DataDirectory = options.DataDirectory,
            DedicatedWalDirectory = options.WalDirectory,
            PreVote = options.PreVote,
            TickMilliseconds = options.HeartbeatMilliseconds,
            ElectionTicks = options.ElectionMilliseconds / options.HeartbeatMilliseconds,
            QuotaBytes = options.Limits.QuotaBytes,
            Retention = options.Retention,
            ForceNewCluster = options.ForceNewCluster,
            LeaseCheckpoints = options.LeaseCheckpoints,
            PromoteLearnersAfter = options.PromoteLearnersAfter,
            LearnersMax = options.LearnersMax,
            SlowApplyAfter = options.SlowApplyAfter,
        };
        await Task.Run(() => EtcdTakeover.Run(disk, settings, logger), stopping);
        TlsSettings? peerTls = TlsSettings.Load(options.PeerTls);
        if (peerTls is not null)
        {
            peerTls.Refused = (subject, reason) => Log.CertificateRefused(logger, subject, reason);
            peerTls.Unreadable = (file, reason) => Log.CertificateUnreadable(logger, file, reason);
        }

        HttpClient peers = PeerClient.Create(peerTls, TimeSpan.FromMilliseconds(options.ElectionMilliseconds * PeerSilenceElections), LocalAddress(options, logger));
        if (!ReplicaLoader.IsThere(disk, settings))
        {
            options = await DiscoverAsync(options, time, prng.Split(), logger, stopping);
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
        SnapshotReceiver receiver = new(disk, settings.CheckpointDirectory, loaded.Replica.ClusterId, host.Times, time);
        receiver.CleanUp();
        LeaderCalls leader = new(host, transport, prng.NextUInt64());
        MembershipRules rules = new(host, options.StrictReconfigCheck, transport.ConnectedFor, prng.Split()) { VotersMin = options.VotersMin };
        await using PeerServer peerServer =
            await PeerServer.StartAsync(options.ListenPeerUrls, options.ReusesPorts, peerTls, options.PeerTls.ChecksCallerAddress ? CallerAddresses.OfMachine(time) : null, host, transport, receiver, leader, logs, stopping);
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
        TaskCompletionSource opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using EtcdServer server = await EtcdServer.StartAsync(options, host, new PeerMetrics(transport, receiver), snapshots, leader, rules, comparison, prng.Split(), logs, opened.Task, stopping);
        Log.Serving(logger, string.Join(", ", options.ListenClientUrls));
        ComparisonLoop comparing = new(host, new PeerComparison(host, transport, connected: true), comparison, options.ComparisonInterval, logger);
        AutoCompactor compactor = new(host, options, logger);
        using CancellationTokenSource ending = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        Task attributes = AnnounceAsync(host, options, opened, logger, ending.Token);
        Task compacting = Task.WhenAll(compactor.RunAsync(ending.Token), comparing.RunAsync(ending.Token));
        Task asked = Task.Delay(Timeout.InfiniteTimeSpan, time, ending.Token);
        await Task.WhenAny(asked, host.Ended);
        Log.Closing(logger, options.Name, options.DataDirectory);
        if (!host.Ended.IsCompleted)
        {
            await Handover.RunAsync(host, transport.IsConnected);
        }

        await ending.CancelAsync();
        await Task.WhenAll(attributes, compacting);
        if (stopping.IsCancellationRequested || await host.Ended is not { } cause)
        {
            return 0;
        }

        if (cause is MemberRemovedException)
        {
            Log.Removed(logger, cause.Message);
            return 0;
        }

        Log.Failed(logger, cause);
        await output.WriteLineAsync($"etcd: {cause.Message}");
        return Failed;
    }

    // Tools and upstream's tests wait for these lines: the member is known to the cluster, there is a leader, and clients are served. Not
    // before: what a member has right after its start may be older than what it said before, or nothing. etcd: embed/serve.go ReadyNotify
    private static async Task AnnounceAsync(ReplicaHost host, EtcdOptions options, TaskCompletionSource opened, ILogger logger, CancellationToken stopping)
    {
        Task<bool> publishing = MemberAttributes.PublishAsync(host, options, stopping);
        Task late = Task.Delay(JoinPatience, host.Time, stopping);
        if (await Task.WhenAny(publishing, late) == late && !stopping.IsCancellationRequested && MemberAttributes.AreKnown(host))
        {
            // Unlike etcd: cut off from the others, what it holds can still be read by those who take it for what it is.
            Log.ServesAlone(logger, JoinPatience.TotalSeconds);
            opened.TrySetResult();
        }

        if (!await publishing)
        {
            opened.TrySetException(EtcdError.Stopped.ToException());
            _ = opened.Task.Exception; // Seen, though nobody may have waited.
        }
        else
        {
            CollectWhatTheStartLeft();
            opened.TrySetResult();
            Log.Published(logger, $"{host.Header.MemberId:x}", options.Name, string.Join(',', options.AdvertiseClientUrls), $"{host.Header.ClusterId:x}");
            Log.Capabilities(logger, EtcdVersion.ClusterShort);
            Log.ReadyToServe(logger);
        }
    }

    // The log that was read is garbage by now, and may be hundreds of megabytes: collected later, those who are served wait for it.
    private static void CollectWhatTheStartLeft()
    {
        if (GC.GetTotalMemory(forceFullCollection: false) > RemainsMin)
        {
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        }
    }

    // etcd: embed/config.go InferLocalAddr
    private static IPAddress? LocalAddress(EtcdOptions options, ILogger logger)
    {
        if (!options.CallsFromAdvertised)
        {
            return null;
        }

        IPAddress? address = PeerAddress.CallingAddress(options.InitialAdvertisePeerUrls);
        if (address is null)
        {
            Log.NoLocalAddress(logger, string.Join(',', options.InitialAdvertisePeerUrls));
        }
        else
        {
            Log.LocalAddress(logger, address.ToString());
        }

        return address;
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

    /// <summary>With the founders, where they are to be found somewhere.</summary>
    private static async Task<EtcdOptions> DiscoverAsync(
        EtcdOptions options, TimeProvider time, Prng prng, ILogger logger, CancellationToken stopping)
    {
        IReadOnlyList<InitialMember>? found = null;
        if (options.Discovery is { } service)
        {
            found = await new DiscoveryService(service, time, logger).JoinAsync(options.Name, options.InitialAdvertisePeerUrls, stopping);
            options = options with { ClusterToken = service.Token };
        }
        else if (options.DiscoveryDomain.Length > 0)
        {
            found = await new SrvDiscovery(DnsClient.OfMachine(prng, time), time).FoundersAsync(
                options.DiscoveryDomain, options.DiscoveryServiceName, options.Name, options.InitialAdvertisePeerUrls, stopping);
        }

        if (found is null)
        {
            return options;
        }

        Log.Discovered(logger, string.Join(',', found.Select(static m => $"{m.Name}={m.Url}")));
        return found.Any(m => m.Name == options.Name) ? options with { InitialCluster = found } : throw new InvalidDataException(
            $"couldn't find local name \"{options.Name}\" in the initial cluster configuration that was discovered: none has the address of {string.Join(',', options.InitialAdvertisePeerUrls)}");
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
