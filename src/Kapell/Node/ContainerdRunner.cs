using System.Diagnostics;
using System.Net.Sockets;
using Kapell.Cli.Images;
using Kapell.Cli.Up;

namespace Kapell.Cli.Node;

/// <summary>
/// One containerd of the cluster's own, with its own state, socket and configuration, beside whatever else runs on the machine. It
/// is started in a session of its own, so that neither Ctrl-C nor the end of kapell takes containers down; one that is still
/// running from before is used again.
/// </summary>
internal sealed class ContainerdRunner(ClusterLayout layout, TimeProvider time)
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(20);

    private string ConfigFile => Path.Combine(layout.Containerd, "config.toml");

    private string PidFile => Path.Combine(layout.Containerd, "containerd.pid");

    private string LogFile => Path.Combine(layout.Logs, "containerd.log");

    /// <returns>True when one from before was taken over.</returns>
    public async Task<bool> StartAsync(NodePrograms programs, int mirrorPort, bool offline, string podCidr, CancellationToken stopping)
    {
        Directory.CreateDirectory(layout.Containerd);
        Directory.CreateDirectory(layout.RunDir);
        WriteMirror(mirrorPort, offline);
        WriteCni(podCidr, offline);
        string config = Config(programs);
        bool sameConfig = File.Exists(ConfigFile) && await File.ReadAllTextAsync(ConfigFile, stopping) == config;
        if (FindRunning() is { } pid)
        {
            if (sameConfig && await AnswersAsync(stopping))
            {
                return true;
            }

            await StopAsync(stopping);
            Check(FindRunning() is null, $"the containerd of this cluster (process {pid}) does not answer and does not stop", $"end it: kill -9 {pid}");
        }

        await File.WriteAllTextAsync(ConfigFile, config, stopping);
        File.Delete(layout.ContainerdSocket);
        ProcessStartInfo start = new("/bin/sh", [
            "-c", "exec setsid \"$0\" --config \"$1\" >>\"$2\" 2>&1 </dev/null", programs.Containerd, ConfigFile, LogFile,
        ]);
        using Process process = Process.Start(start)!;
        await File.WriteAllTextAsync(PidFile, process.Id.ToString(), stopping);
        long began = time.GetTimestamp();
        while (!await AnswersAsync(stopping))
        {
            Check(!process.HasExited, "containerd ended while starting: " + LastLine(), "see " + LogFile);
            Check(time.GetElapsedTime(began) < StartTimeout, $"containerd did not answer on {layout.ContainerdSocket} in {StartTimeout.TotalSeconds:0} s", "see " + LogFile);
            await Task.Delay(TimeSpan.FromMilliseconds(20), time, stopping);
        }

        return false;
    }

    /// <summary>Ends containerd; the containers and their shims go on.</summary>
    public async Task StopAsync(CancellationToken stopping)
    {
        if (FindRunning() is not { } pid)
        {
            return;
        }

        using Process process = Process.GetProcessById(pid);
        Signals.Send(pid, Signals.Terminate);
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        limit.CancelAfter(TimeSpan.FromSeconds(10));
        try
        {
            // Not always our child (taken over from before): ask the kernel, not the runtime.
            while (Directory.Exists($"/proc/{pid}") && !IsZombie(pid))
            {
                await Task.Delay(TimeSpan.FromMilliseconds(20), time, limit.Token);
            }
        }
        catch (OperationCanceledException) when (!stopping.IsCancellationRequested)
        {
            Signals.Send(pid, Signals.Kill);
        }

        File.Delete(PidFile);
    }

    /// <summary>The process of ours that runs with our configuration file, whoever its parent is now.</summary>
    public int? FindRunning()
    {
        if (!File.Exists(PidFile) || !int.TryParse(File.ReadAllText(PidFile), out int pid))
        {
            return null;
        }

        try
        {
            return !IsZombie(pid) && File.ReadAllText($"/proc/{pid}/cmdline").Contains(ConfigFile, StringComparison.Ordinal) ? pid : null;
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static bool IsZombie(int pid)
    {
        try
        {
            string stat = File.ReadAllText($"/proc/{pid}/stat");
            return stat[(stat.LastIndexOf(')') + 2)..].StartsWith('Z');
        }
        catch (IOException)
        {
            return true;
        }
    }

    private static void Check(bool holds, string why, string next)
    {
        if (!holds)
        {
            throw new UpException(why, next);
        }
    }

    private async Task<bool> AnswersAsync(CancellationToken stopping)
    {
        if (!File.Exists(layout.ContainerdSocket))
        {
            return false;
        }

        using Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(layout.ContainerdSocket), stopping);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private string LastLine()
    {
        string[] lines = File.Exists(LogFile) ? File.ReadAllLines(LogFile) : [];
        string? fault = lines.LastOrDefault(l => l.Contains("level=fatal") || l.Contains("level=error") || l.StartsWith("containerd:", StringComparison.Ordinal));
        return fault ?? lines.LastOrDefault() ?? "(it said nothing)";
    }

    private void WriteMirror(int port, bool offline)
    {
        // Without a server line containerd goes on to the real registry when the mirror has no such image.
        string folder = Path.Combine(layout.Containerd, "certs.d/_default");
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "hosts.toml"), $"""
            {(offline ? $"server = \"http://127.0.0.1:{port}\"" : "")}
            [host."http://127.0.0.1:{port}"]
              capabilities = ["pull", "resolve"]

            """);
    }

    private void WriteCni(string podCidr, bool offline)
    {
        string folder = Path.Combine(layout.Cni, "net.d");
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "10-kapell.conflist"), $$"""
            {
              "cniVersion": "0.4.0",
              "name": "kapell-{{layout.Id}}",
              "plugins": [
                {
                  "type": "bridge",
                  "bridge": "{{layout.Bridge}}",
                  "isGateway": true,
                  "isDefaultGateway": true,
                  "hairpinMode": true,
                  "ipMasq": {{(offline ? "false" : "true")}},
                  "ipam": {
                    "type": "host-local",
                    "dataDir": "{{layout.Cni}}/ipam",
                    "ranges": [[{ "subnet": "{{podCidr}}" }]]
                  }
                },
                { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true }
              ]
            }
            """);
    }

    private string Config(NodePrograms programs) => $"""
        version = 2
        root = "{layout.Containerd}/root"
        state = "{layout.RunDir}/state"
        disabled_plugins = [
          "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.zfs",
          "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs",
        ]

        [grpc]
          address = "{layout.ContainerdSocket}"
        [metrics]
          address = ""

        [plugins."io.containerd.grpc.v1.cri"]
          sandbox_image = "{ImageBuilder.PauseReference}"
          disable_tcp_service = true
          stream_server_address = "127.0.0.1"
          stream_server_port = "0"
          disable_apparmor = {(Directory.Exists("/sys/kernel/security/apparmor") ? "false" : "true")}
          restrict_oom_score_adj = {(HostFacts.MayLowerOomScore() ? "false" : "true")}
          enable_unprivileged_ports = true
          enable_unprivileged_icmp = true
          [plugins."io.containerd.grpc.v1.cri".registry]
            config_path = "{layout.Containerd}/certs.d"
          [plugins."io.containerd.grpc.v1.cri".containerd]
            snapshotter = "overlayfs"
            default_runtime_name = "runc"
            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
              runtime_type = "io.containerd.runc.v2"
              [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
                SystemdCgroup = false
                BinaryName = "{programs.Runtime}"
          [plugins."io.containerd.grpc.v1.cri".cni]
            bin_dir = "{programs.CniFolder}"
            conf_dir = "{layout.Cni}/net.d"

        """;
}
