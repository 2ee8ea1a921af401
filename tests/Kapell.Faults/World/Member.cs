using System.Diagnostics;
using System.Globalization;
using Grpc.Net.Client;
using Kapell.Etcd.Protocol;

namespace Kapell.Faults.World;

/// <summary>One member as a process in its own network namespace and on its own disk, and the clients that speak to it.</summary>
internal sealed class Member : IDisposable
{
    private readonly string _directory;
    private readonly string _controlGroup;
    private readonly GrpcChannel _channel;
    private readonly Lock _lock = new();
    private Process? _process;
    private StreamWriter? _log;

    public Member(int index, string directory, string controlGroup)
    {
        (Index, _directory, _controlGroup) = (index, directory, controlGroup);
        Directory.CreateDirectory(directory);
        Directory.CreateDirectory(controlGroup);
        Disk = new MemberDisk(Path.Combine(directory, "disk.img"), Path.Combine(directory, "disk"), controlGroup, journal: index % 2 == 0);
        SocketsHttpHandler handler = new()
        {
            UseProxy = false,
            ConnectTimeout = TimeSpan.FromSeconds(1),
            KeepAlivePingDelay = TimeSpan.FromSeconds(1),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(2),
        };
        _channel = GrpcChannel.ForAddress(ClientUrl, new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true, MaxReceiveMessageSize = null });
        Kv = new KV.KVClient(_channel);
        Watch = new Watch.WatchClient(_channel);
        Leases = new Lease.LeaseClient(_channel);
        Cluster = new Cluster.ClusterClient(_channel);
        Maintenance = new Maintenance.MaintenanceClient(_channel);
    }

    public int Index { get; }

    public string Name => string.Create(CultureInfo.InvariantCulture, $"n{Index}");

    public string ClientUrl => $"http://{Network.AddressOf(Index)}:2379";

    public string PeerUrl => $"http://{Network.AddressOf(Index)}:2380";

    public MemberDisk Disk { get; }

    public KV.KVClient Kv { get; }

    public Watch.WatchClient Watch { get; }

    public Lease.LeaseClient Leases { get; }

    public Cluster.ClusterClient Cluster { get; }

    public Maintenance.MaintenanceClient Maintenance { get; }

    public bool Runs => _process is { HasExited: false };

    public bool IsPaused { get; private set; }

    /// <summary>Set by who takes something from it that it cannot live without; otherwise an end of its own is a failure.</summary>
    public bool MayEnd { get; set; }

    public int? ExitCode => _process is { HasExited: true } ended ? ended.ExitCode : null;

    /// <summary>Which program to run; another one for a test of older versions.</summary>
    public string Program { get; set; } = Programs.Kapell;

    /// <summary>The library that lets <see cref="SetWallClock"/> work, from the next start on; null: it cannot.</summary>
    public string? WallClocks { get; set; }

    private string LogPath => Path.Combine(_directory, "log");

    private string ClockPath => Path.Combine(_directory, "clock");

    /// <param name="uptime">What its clocks of the time since the start of the machine say at first; null: the truth.</param>
    public void Start(string initialCluster, bool joins, int snapshotCount, TimeSpan? uptime)
    {
        Disk.Mount();
        WallClock.Write(ClockPath, WallClockOffset);
        string clocks = uptime is { } jump ? $" unshare --time --monotonic {(long)jump.TotalSeconds} --boottime {(long)jump.TotalSeconds}" : "";
        string wall = WallClocks is null ? "" : $" env {WallClock.Environment(WallClocks, ClockPath)}";
        string command = $"--net=/run/netns/kf{Index}{clocks}{wall} {Program} etcd --name {Name} --data-dir {Disk.DataDirectory}"
            + $" --listen-client-urls {ClientUrl} --advertise-client-urls {ClientUrl} --listen-peer-urls {PeerUrl} --initial-advertise-peer-urls {PeerUrl}"
            + $" --initial-cluster {initialCluster} --initial-cluster-state {(joins ? "existing" : "new")} --snapshot-count {snapshotCount}";
        ProcessStartInfo info = new("nsenter", command.Split(' ')) { RedirectStandardOutput = true, RedirectStandardError = true };
        lock (_lock)
        {
            _log ??= new StreamWriter(LogPath, append: true) { AutoFlush = true };
            _log.WriteLine($"== {DateTime.UtcNow:HH:mm:ss.fff} start{clocks}");
        }

        Process process = new() { StartInfo = info };
        process.OutputDataReceived += (_, line) => Keep(line.Data);
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        File.WriteAllText(Path.Combine(_controlGroup, "cgroup.procs"), process.Id.ToString(CultureInfo.InvariantCulture));
        _process?.Dispose();
        (_process, IsPaused, MayEnd) = (process, false, false);
    }

    /// <summary>Ends it at once, whatever it does.</summary>
    public void Kill()
    {
        MayEnd = true;
        Note("kill -9");
        if (Runs)
        {
            Native.Signal(_process!.Id, Native.SignalKill);
        }

        WaitForEnd();
    }

    /// <summary>Asks it to end.</summary>
    public void Terminate()
    {
        MayEnd = true;
        Note("terminate");
        if (Runs)
        {
            Native.Signal(_process!.Id, Native.SignalTerm);
        }

        WaitForEnd();
    }

    public void Pause()
    {
        if (Runs)
        {
            Note("pause");
            Native.Signal(_process!.Id, Native.SignalStop);
            IsPaused = true;
        }
    }

    public void Resume()
    {
        if (IsPaused)
        {
            IsPaused = false;
            Note("resume");
            Native.Signal(_process!.Id, Native.SignalContinue);
        }
    }

    /// <summary>How far its wall clock is from the truth; its other clocks are right.</summary>
    public TimeSpan WallClockOffset { get; private set; }

    /// <summary>Its wall clock jumps.</summary>
    public void SetWallClock(TimeSpan offset)
    {
        if (offset != WallClockOffset)
        {
            WallClockOffset = offset;
            WallClock.Write(ClockPath, offset);
            Note($"the wall clock is {offset.TotalSeconds:+0;-0;+0} s off");
        }
    }

    public string LastWords(int characters = 3000)
    {
        lock (_lock)
        {
            string all = File.Exists(LogPath) ? File.ReadAllText(LogPath) : "";
            return all[Math.Max(0, all.Length - characters)..];
        }
    }

    /// <summary>Resident memory in bytes.</summary>
    public long ResidentBytes()
    {
        _process!.Refresh();
        return _process.WorkingSet64;
    }

    /// <summary>A line in its log, by whoever did something to it.</summary>
    public void Note(string what)
    {
        lock (_lock)
        {
            _log?.WriteLine($"== {DateTime.UtcNow:HH:mm:ss.fff} {what}");
        }
    }

    public void Dispose()
    {
        if (_process is not null)
        {
            Kill();
            _process.Dispose();
        }

        _channel.Dispose();
        Disk.Unmount();
        Directory.Delete(_controlGroup);
        _log?.Dispose();
    }

    private void WaitForEnd()
    {
        if (_process is not null && !_process.WaitForExit(TimeSpan.FromSeconds(30)))
        {
            throw new FaultsFailedException($"{Name} does not end\n{LastWords()}");
        }

        IsPaused = false;
    }

    private void Keep(string? line)
    {
        lock (_lock)
        {
            if (line is not null)
            {
                _log?.WriteLine(line);
            }
        }
    }
}

/// <summary>Where the program under test lies.</summary>
internal static class Programs
{
    public static string Kapell { get; } = Path.GetFullPath(Path.Combine(
        AppContext.BaseDirectory, "..", "..", "..", "..", "..", "src", "Kapell", "bin", "Release", "net10.0", "kapell"));
}
