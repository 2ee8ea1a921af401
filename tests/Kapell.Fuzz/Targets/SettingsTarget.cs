using System.Text;
using Kapell.Base;
using Kapell.Etcd.Server;
using Kapell.Fuzz.Inputs;

namespace Kapell.Fuzz.Targets;

/// <summary>Configuration files and flags, up to the settings they make.</summary>
internal sealed class SettingsTarget : FuzzTarget
{
    private readonly string _file = Path.Combine(Path.GetTempPath(), $"kapell-fuzz-{Environment.ProcessId}.yaml");

    public SettingsTarget() : base("settings")
    {
        string yaml = """
            name: n1
            data-dir: /tmp/x
            listen-client-urls: http://127.0.0.1:2379,http://[::1]:2379
            advertise-client-urls: http://127.0.0.1:2379
            listen-peer-urls: http://127.0.0.1:2380
            initial-advertise-peer-urls: http://127.0.0.1:2380
            initial-cluster: n1=http://127.0.0.1:2380
            initial-cluster-state: new
            heartbeat-interval: 100
            election-timeout: 1000
            quota-backend-bytes: 2147483648
            auto-compaction-mode: periodic
            auto-compaction-retention: "1h"
            auth-token: jwt,sign-method=RS256,pub-key=/a,priv-key=/b,ttl=5m
            cors: "*"
            client-transport-security:
              cert-file: /nowhere/a.pem
              client-cert-auth: true
            peer-transport-security:
              auto-tls: true
            """;
        string json = """{"name":"n1","data-dir":"/tmp/x","listen-client-urls":"http://127.0.0.1:2379","advertise-client-urls":"http://127.0.0.1:2379","max-txn-ops":5,"backend-batch-interval":100}""";
        string flags = "\0--name\0n1\0--data-dir=/tmp/x\0--listen-client-urls\0http://localhost:2379\0--advertise-client-urls\0http://localhost:2379\0--initial-cluster-token=t\0--snapshot-count\05\0--log-level\0debug";
        Corpus = [.. new[] { yaml, json, flags }.Select(Encoding.UTF8.GetBytes)];
    }

    public override IReadOnlyList<byte[]> Corpus { get; }

    public override bool Run(byte[] input)
    {
        string[] args;
        if (input.Length > 0 && input[0] == 0)
        {
            args = Encoding.UTF8.GetString(input.AsSpan(1)).Split('\0');
        }
        else
        {
            File.WriteAllBytes(_file, input);
            args = ["--config-file", _file];
        }

        // A flag must not lead to files of this machine.
        if (args.Length != 2 && args.Any(static a => a.Contains("config-file", StringComparison.Ordinal)))
        {
            return false;
        }

        try
        {
            EtcdFlags flags = new();
            flags.Parse(args, static _ => null);
            flags.ToOptions();
            return true;
        }
        catch (FlagException)
        {
            return input.AsSpan().SequenceEqual(Corpus[0]); // Its keys are nowhere, which is seen only here.
        }
        finally
        {
            File.Delete(_file);
        }
    }
}
