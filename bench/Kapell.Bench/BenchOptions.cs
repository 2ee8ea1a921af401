using Kapell.Base;

namespace Kapell.Bench;

/// <summary>What to do how often to whom, from the command line.</summary>
internal sealed class BenchOptions
{
    private readonly FlagSet _flags = new("Kapell.Bench SCENARIO", """
        Drives an etcd or Kubernetes API endpoint and prints throughput, latency and what the server spent.

        Scenarios against etcd (--target http://HOST:PORT):
          put               one key per operation
          range             one key per operation, linearizable
          range-serial      one key per operation, serializable
          list              --range-limit keys per operation, linearizable
          txn               compare the revision of a key, put it, as a Kubernetes API server writes
          watch             put under a prefix that --watchers watch, and wait for all their events; also prints the time from put to event
          lease             keep-alive of one lease per client
        Scenarios against Kubernetes (--target KUBECONFIG):
          kube-create       create a ConfigMap
          kube-get          get a ConfigMap
          kube-list         list --range-limit ConfigMaps of a namespace
          kube-patch        merge patch of a ConfigMap
          kube-watch        patch ConfigMaps that --watchers watch; also prints the time from patch to event
        With flags of their own (scale --help):
          suite             every operation on Kapell's store and etcd in turn: a table and charts
          watches           memory of the server per watch
          scale             growth of cost and memory with the number of keys, and a steady load on the full store
          disk              the same steady load on a file, without a store
        """);

    public BenchOptions()
    {
        _flags.Group("Targets");
        Target = _flags.String("target", "http://127.0.0.1:2379", "URL of an etcd endpoint, or path of a kubeconfig");
        Versus = _flags.String("versus", "", "a second target: both are run in turn (A, B, A, B) and compared");
        ServerPid = _flags.Int("server-pid", 0, "process of the target, for its CPU and memory");
        VersusPid = _flags.Int("versus-pid", 0, "process of the second target");
        _flags.Group("Load");
        Connections = _flags.Int("conns", 8, "connections");
        Clients = _flags.Int("clients", 64, "operations at a time");
        Total = _flags.Long("total", 0, "operations per run; 0: run for --duration");
        Duration = _flags.Duration("duration", TimeSpan.FromSeconds(5), "length of a run");
        WarmUp = _flags.Duration("warm-up", TimeSpan.FromSeconds(1), "load before the first run of each target that is not counted");
        Rounds = _flags.Int("rounds", 3, "runs of each target when two are compared");
        _flags.Group("Content");
        KeySize = _flags.Int("key-size", 32, "bytes of a key");
        ValueSize = _flags.Int("val-size", 256, "bytes of a value");
        Keys = _flags.Int("keys", 1000, "different keys");
        RangeLimit = _flags.Int("range-limit", 100, "keys or objects in one list");
        Watchers = _flags.Int("watchers", 100, "watchers in the watch scenarios");
        Seed = _flags.Long("seed", 1, "seed of keys and values");
        _flags.Examples.Add("Kapell.Bench put --target http://127.0.0.1:2379 --clients 64 --duration 5s --server-pid $(pidof etcd)");
        _flags.Examples.Add("Kapell.Bench txn --target http://127.0.0.1:2379 --versus http://127.0.0.1:12379 --server-pid 11 --versus-pid 12");
        _flags.Examples.Add("Kapell.Bench kube-list --target /tmp/a/kubeconfig --range-limit 500 --clients 8");
    }

    public FlagValue<string> Target { get; }

    public FlagValue<string> Versus { get; }

    public FlagValue<int> ServerPid { get; }

    public FlagValue<int> VersusPid { get; }

    public FlagValue<int> Connections { get; }

    public FlagValue<int> Clients { get; }

    public FlagValue<long> Total { get; }

    public FlagValue<TimeSpan> Duration { get; }

    public FlagValue<TimeSpan> WarmUp { get; }

    public FlagValue<int> Rounds { get; }

    public FlagValue<int> KeySize { get; }

    public FlagValue<int> ValueSize { get; }

    public FlagValue<int> Keys { get; }

    public FlagValue<int> RangeLimit { get; }

    public FlagValue<int> Watchers { get; }

    public FlagValue<long> Seed { get; }

    public string Scenario { get; private set; } = "";

    public string Help => _flags.Help();

    /// <summary>False when help was asked for.</summary>
    public bool Parse(IReadOnlyList<string> args)
    {
        _flags.Parse(args);
        if (_flags.HelpWanted || _flags.Arguments.Count == 0)
        {
            return false;
        }

        Scenario = _flags.Arguments[0];
        Require(_flags.Arguments.Count == 1, "one scenario at a time");
        Require(Connections.Value is > 0 and <= 10_000, "--conns must be 1 to 10000");
        Require(Clients.Value is > 0 and <= 100_000, "--clients must be 1 to 100000");
        Require(Keys.Value is > 0 and <= 100_000_000, "--keys must be 1 to 100000000");
        Require(KeySize.Value is >= 16 and <= 65536, "--key-size must be 16 to 65536");
        Require(ValueSize.Value is >= 12 and <= 1_500_000, "--val-size must be 12 to 1500000");
        Require(RangeLimit.Value > 0 && Watchers.Value > 0 && Rounds.Value > 0, "counts must be above zero");
        return true;
    }

    private static void Require(bool condition, string otherwise)
    {
        if (!condition)
        {
            throw new FlagException(otherwise);
        }
    }
}
