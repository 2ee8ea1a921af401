using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>What keeps a member from starting is said in one clear line, with an exit code that is not zero.</summary>
public sealed class StartupTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Flags, what both programs say, and the exit code of both.</summary>
    public static TheoryData<string, string, int> WrongFlags => new()
    {
        { "--nope", "flag provided but not defined: -nope", 2 },
        { "--name", "flag needs an argument: -name", 2 },
        { "--snapshot-count=abc", "invalid value \"abc\" for flag -snapshot-count: parse error", 2 },
        { "positional", "'positional' is not a valid flag", 0 },
        { "--listen-client-urls http://127.0.0.1:1", "--advertise-client-urls is required when --listen-client-urls is set explicitly", 1 },
        { "--election-timeout 100", "--election-timeout[100ms] should be at least as 5 times as --heartbeat-interval[100ms]", 1 },
        { "--heartbeat-interval 0", "--heartbeat-interval must be >0 (set to 0ms)", 1 },
        { "--election-timeout 60000", "--election-timeout[60000ms] is too long, and should be set less than 50000ms", 1 },
        { "--initial-cluster a=http://localhost:2380", "couldn't find local name \"default\" in the initial cluster configuration", 1 },
        { "--initial-cluster default=http://localhost:9", "--initial-cluster has default=http://localhost:9 but missing from --initial-advertise-peer-urls=", 1 },
        { "--auto-compaction-mode nonsense", "unknown auto-compaction-mode \"nonsense\"", 1 },
        { "--auto-compaction-retention nonsense", "error parsing CompactionRetention: time: invalid duration", 1 },
        { "--listen-client-urls http://example.com:1 --advertise-client-urls http://a:1", "expected IP in URL for binding (http://example.com:1)", 1 },
        { "--listen-client-urls ftp://127.0.0.1:1", "invalid value \"ftp://127.0.0.1:1\" for flag -listen-client-urls: URL scheme must be http", 2 },
        { "--listen-client-urls http://127.0.0.1:1/p", "URL must not contain a path: http://127.0.0.1:1/p", 2 },
        { "--advertise-client-urls http://127.0.0.1", "URL address does not have the form \"host:port\": http://127.0.0.1", 2 },
        { "--cipher-suites nope", "unexpected TLS cipher suite \"nope\"", 0 },
        { "--auth-token nonsense", "auth: invalid auth options", 0 },
        { "--auth-token jwt,sign-method=RS256", "auth: missing key data", 0 },
        {
            "--listen-client-urls https://127.0.0.1:1 --advertise-client-urls https://127.0.0.1:1",
            "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme", 1
        },
    };

    [Theory]
    [MemberData(nameof(WrongFlags))]
    public async Task A_wrong_flag_is_named_in_upstreams_words_before_anything_is_written(string flags, string says, int code)
    {
        foreach (StoreKind kind in Enum.GetValues<StoreKind>().Where(k => k == StoreKind.Kapell || Programs.Etcd is not null))
        {
            string folder = StoreProcess.NewDirectory();
            string data = Path.Combine(folder, "data");
            (int exit, string said) = await RunAsync(kind, ["--data-dir", data, .. flags.Split(' ')]);
            Assert.Contains(says, said, StringComparison.Ordinal);
            Assert.True(code == 0 ? exit != 0 : exit == code, $"{kind} ended with {exit}: {said}");
            if (kind == StoreKind.Kapell)
            {
                Assert.Single(said.Trim().Split('\n'));
                Assert.False(Directory.Exists(data));
            }

            Directory.Delete(folder, recursive: true);
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task A_port_that_is_taken_is_named(StoreKind kind)
    {
        using TcpListener taken = new(IPAddress.Loopback, 0);
        taken.Start();
        int port = ((IPEndPoint)taken.LocalEndpoint).Port;
        string folder = StoreProcess.NewDirectory();
        string url = $"http://127.0.0.1:{port}";
        (int exit, string said) = await RunAsync(
            kind,
            ["--data-dir", folder, "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", $"http://127.0.0.1:{FreePorts.Next()}"]);
        Assert.Equal(1, exit);
        Assert.Contains($"listen tcp 127.0.0.1:{port}: bind: address already in use", said, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", said, StringComparison.Ordinal); // Of a stack of calls.
        Directory.Delete(folder, recursive: true);
    }

    /// <summary>As etcd 3.6 says them; the installed one may be older.</summary>
    [Theory]
    [InlineData(
        "--warning-unary-request-duration=1s --experimental-warning-unary-request-duration=1s",
        "both --experimental-warning-unary-request-duration and --warning-unary-request-duration flags are set")]
    [InlineData("--listen-metrics-urls https://127.0.0.1:1", "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url")]
    [InlineData("--corrupt-check-time 1s --experimental-corrupt-check-time 1s", "cannot set --experimental-corrupt-check-time and --corrupt-check-time at the same time")]
    [InlineData("--compact-hash-check-time -1s", "--compact-hash-check-time must be >0 (set to -1s)")]
    [InlineData("--experimental-enable-distributed-tracing --experimental-distributed-tracing-sampling-rate=-1", "tracing sampling rate must be positive")]
    [InlineData("--enable-distributed-tracing --distributed-tracing-sampling-rate=1000001", "tracing sampling rate must be less than 1000000")]
    [InlineData("--enable-distributed-tracing --distributed-tracing-address=nowhere:", "--distributed-tracing-address: \"nowhere:\" is not host:port")]
    public async Task A_wrong_flag_of_a_newer_etcd_is_named_too(string flags, string says)
    {
        (int exit, string said) = await RunAsync(StoreKind.Kapell, flags.Split(' '));
        Assert.Equal(1, exit);
        Assert.Contains(says, Assert.Single(said.Trim().Split('\n')), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("etcdctl", "etcd's own works with the store")]
    [InlineData("nothing", "next: kapell --help")]
    public async Task A_command_that_is_none_is_not_said_to_have_help(string command, string says)
    {
        (int exit, string said) = await ProgramRun.CompleteAsync(Programs.Kapell, [command], "", Cancellation);
        Assert.Equal(2, exit);
        Assert.Contains(says, said, StringComparison.Ordinal);
        Assert.DoesNotContain(command + " --help", said, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--warning-unary-request-duration", "1us", true)]
    [InlineData("--experimental-warning-unary-request-duration", "1us", true)]
    [InlineData("--warning-unary-request-duration", "1h", false)]
    public async Task A_call_that_takes_longer_than_it_should_is_in_the_log_without_its_content(string flag, string time, bool logged)
    {
        using StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, null, flag, time));
        await store.PutAsync("a", "not for the log");
        _ = logged && await store.Process.SaysAsync("request stats", Cancellation);
        string? line = store.Process.Said.Split('\n').FirstOrDefault(static l => l.Contains("request stats", StringComparison.Ordinal));
        Assert.Equal(logged, line?.Contains("\"response-type\":\"/etcdserverpb.KV/Put\"", StringComparison.Ordinal) ?? false);
        Assert.DoesNotContain("not for the log", store.Process.Said, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--warning-apply-duration", "1ns", true)]
    [InlineData("--experimental-warning-apply-duration", "1h", false)]
    public async Task What_takes_long_to_apply_is_in_the_log(string flag, string time, bool logged)
    {
        using StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, null, flag, time));
        await store.PutAsync("a", "not for the log");
        if (logged)
        {
            Assert.True(await store.Process.SaysAsync("apply request took too long", Cancellation));
        }
        else
        {
            Assert.DoesNotContain("apply request took too long", store.Process.Said, StringComparison.Ordinal);
        }

        Assert.DoesNotContain("not for the log", store.Process.Said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Two_that_allow_it_share_a_port()
    {
        using StoreProcess one = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, null, "--socket-reuse-port");
        string folder = StoreProcess.NewDirectory();
        string[] same = ["--data-dir", folder, "--listen-client-urls", one.Url, "--advertise-client-urls", one.Url, "--listen-peer-urls", $"http://127.0.0.1:{FreePorts.Next()}"];
        (int exit, string said) = await RunAsync(StoreKind.Kapell, same);
        Assert.Equal(1, exit);
        Assert.Contains("address already in use", said, StringComparison.Ordinal);
        using ProgramRun two = ProgramRun.Start(Programs.Kapell, ["etcd", .. same, "--socket-reuse-port"]);
        Assert.True(await two.SaysAsync("ready to serve client requests", Cancellation), two.Said);
        two.Dispose();
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_second_one_on_the_same_directory_is_told_who_has_it()
    {
        using StoreProcess first = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        (int exit, string said) = await StartOnAsync(first.DataDirectory);
        Assert.Equal(1, exit);
        Assert.Contains($"the data directory {first.DataDirectory} is in use by process ", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_damaged_log_is_named_with_the_place_and_what_to_do()
    {
        using StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation));
        for (int i = 0; i < 20; i++)
        {
            await store.PutAsync("a", new string('v', 1000));
        }

        store.Process.Kill();
        string segment = Directory.GetFiles(Path.Combine(store.Process.DataDirectory, "member", "wal"), "*.wal").Single();
        byte[] bytes = await File.ReadAllBytesAsync(segment, Cancellation);
        bytes[8000] ^= 0x10;
        await File.WriteAllBytesAsync(segment, bytes, Cancellation);
        (int exit, string said) = await StartOnAsync(store.Process.DataDirectory);
        Assert.Equal(1, exit);
        Assert.Contains($"etcd: {segment} is damaged at offset ", said, StringComparison.Ordinal);
        Assert.Contains("Do not delete it.", said, StringComparison.Ordinal);
        Assert.DoesNotContain("   at Kapell", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_data_directory_that_is_a_file_is_refused()
    {
        string folder = StoreProcess.NewDirectory();
        string file = Path.Combine(folder, "file");
        await File.WriteAllTextAsync(file, "", Cancellation);
        (int exit, string said) = await StartOnAsync(file);
        Assert.Equal(1, exit);
        Assert.Contains(file, Assert.Single(said.Trim().Split('\n')), StringComparison.Ordinal);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_disk_too_small_to_start_on_is_said_to_be_full()
    {
        using SmallDisk disk = await SmallDisk.MountAsync("8m", Cancellation);
        (int exit, string said) = await StartOnAsync(Path.Combine(disk.Path, "data"));
        Assert.Equal(1, exit);
        Assert.Contains("no space left on the device; free space, then start again", said, StringComparison.Ordinal);
        Assert.DoesNotContain("   at Kapell", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_disk_that_fills_up_stops_the_member_and_what_was_acknowledged_is_there_when_there_is_space()
    {
        using SmallDisk disk = await SmallDisk.MountAsync("48m", Cancellation);
        string data = Path.Combine(disk.Path, "data");
        int acknowledged = 0;
        string said;
        using (StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, data)))
        {
            RpcException? refused = null;
            for (int i = 0; i < 80 && refused is null; i++)
            {
                try
                {
                    await store.PutAsync($"{i}", new string('v', 1 << 20));
                    acknowledged = i + 1;
                }
                catch (RpcException e)
                {
                    refused = e;
                }
            }

            Assert.NotNull(refused);
            Assert.Equal(1, await store.Process.ExitAsync(Cancellation));
            said = store.Process.Said;
        }

        Assert.Contains("no space left on the device; free space, then start again", said, StringComparison.Ordinal);
        Assert.InRange(acknowledged, 20, 60);
        await disk.GrowAsync("160m", Cancellation);
        using StoreClient again = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, data));
        Assert.Equal(acknowledged + 1, await again.RevisionAsync());
    }

    private static Task<(int Exit, string Said)> StartOnAsync(string data)
    {
        string url = $"http://127.0.0.1:{FreePorts.Next()}";
        return RunAsync(StoreKind.Kapell, ["--data-dir", data, "--listen-client-urls", url, "--advertise-client-urls", url]);
    }

    private static Task<(int Exit, string Said)> RunAsync(StoreKind kind, string[] args)
    {
        if (kind == StoreKind.Upstream && Programs.Etcd is null)
        {
            Assert.Skip("etcd is not installed: apt-get install etcd-server");
        }

        return ProgramRun.CompleteAsync(
            kind == StoreKind.Kapell ? Programs.Kapell : Programs.Etcd!, kind == StoreKind.Kapell ? ["etcd", .. args] : args, "", Cancellation);
    }

    /// <summary>A file system in memory of a given size; needs root.</summary>
    private sealed class SmallDisk : IDisposable
    {
        private SmallDisk(string path) => Path = path;

        public string Path { get; }

        public static async Task<SmallDisk> MountAsync(string size, CancellationToken cancellation)
        {
            string path = StoreProcess.NewDirectory();
            (int code, string said) = await ProgramRun.CompleteAsync("mount", ["-t", "tmpfs", "-o", "size=" + size, "tmpfs", path], "", cancellation);
            if (code != 0)
            {
                Directory.Delete(path);
                Assert.Skip("a small file system cannot be mounted here (not root?): " + said.Trim());
            }

            return new SmallDisk(path);
        }

        public Task GrowAsync(string size, CancellationToken cancellation) =>
            ProgramRun.CompleteAsync("mount", ["-o", "remount,size=" + size, Path], "", cancellation);

        public void Dispose()
        {
            using System.Diagnostics.Process unmount = System.Diagnostics.Process.Start("umount", ["-l", Path]);
            unmount.WaitForExit();
            Directory.Delete(Path);
        }
    }
}
