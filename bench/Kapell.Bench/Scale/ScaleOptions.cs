using Kapell.Base;

namespace Kapell.Bench.Scale;

/// <summary>How large the store is to grow, and how it is driven then.</summary>
internal sealed class ScaleOptions
{
    private readonly FlagSet _flags = new("Kapell.Bench scale", """
        Fills a store step by step, measures what an operation costs at each size, then drives the full store at a steady rate with
        compactions and prints every latency as a histogram, and of each stall what time the machine did not give: a thread on each
        processor sleeps and reads 512 MB here and there; and what the flushes of the log and the collector took, by /metrics each
        second. With --disk-witness also what time the disk stood still for another who writes and flushes a little. Writes a chart of the cost by size when --chart is given.
        """);

    public ScaleOptions()
    {
        Target = _flags.String("target", "http://127.0.0.1:2379", "URL of an etcd endpoint whose store is empty");
        ServerPid = _flags.Int("server-pid", 0, "process of the target, for its CPU and memory");
        Sizes = _flags.List("sizes", ["10000", "100000", "1000000", "10000000"], "keys at each step, rising");
        Fill = _flags.Bool("fill", true, "Fill the store; false when an earlier run did, with the same sizes");
        KeySize = _flags.Int("key-size", 64, "bytes of a key");
        ValueSize = _flags.Int("val-size", 256, "bytes of a value");
        Connections = _flags.Int("conns", 8, "connections");
        Clients = _flags.Int("clients", 100, "operations at a time when cost is measured");
        Step = _flags.Duration("step", TimeSpan.FromSeconds(5), "length of each measurement of cost");
        Duration = _flags.Duration("duration", TimeSpan.FromMinutes(10), "length of the steady load; 0: none");
        Rate = _flags.Int("rate", 1000, "puts a second of the steady load, over the existing keys; sent whether or not the last are answered");
        CompactEvery = _flags.Duration("compact-every", TimeSpan.FromSeconds(60), "time between compactions to the newest revision");
        DiskWitness = _flags.String(Scale.DiskWitness.Flag, "", "new file on the target's disk, written and flushed 200 times a second beside the load to see when the disk stands still; deleted at the end");
        Chart = _flags.String("chart", "", "file for the chart of CPU per operation by number of keys (SVG)");
        _flags.Examples.Add("Kapell.Bench scale --target http://127.0.0.1:2379 --server-pid 11 --sizes 10000,1000000 --duration 1m");
    }

    public FlagValue<string> Target { get; }

    public FlagValue<int> ServerPid { get; }

    public FlagValue<IReadOnlyList<string>> Sizes { get; }

    public FlagValue<bool> Fill { get; }

    public FlagValue<int> KeySize { get; }

    public FlagValue<int> ValueSize { get; }

    public FlagValue<int> Connections { get; }

    public FlagValue<int> Clients { get; }

    public FlagValue<TimeSpan> Step { get; }

    public FlagValue<TimeSpan> Duration { get; }

    public FlagValue<int> Rate { get; }

    public FlagValue<TimeSpan> CompactEvery { get; }

    public FlagValue<string> DiskWitness { get; }

    public FlagValue<string> Chart { get; }

    public IReadOnlyList<long> Steps { get; private set; } = [];

    public string Help => _flags.Help();

    /// <summary>False when help was asked for.</summary>
    public bool Parse(IReadOnlyList<string> args)
    {
        _flags.Parse(args);
        if (_flags.HelpWanted)
        {
            return false;
        }

        List<long> steps = [];
        foreach (string size in Sizes.Value)
        {
            if (!long.TryParse(size, out long keys) || keys is <= 0 or > 1_000_000_000 || (steps.Count > 0 && keys <= steps[^1]))
            {
                throw new FlagException($"--sizes: \"{size}\" is not a number of keys above the one before it, at most 1000000000");
            }

            steps.Add(keys);
        }

        Steps = steps;
        if (KeySize.Value is < 24 or > 4096 || ValueSize.Value is < 1 or > 65536 || Rate.Value is < 1 or > 1_000_000)
        {
            throw new FlagException("--key-size must be 24 to 4096, --val-size 1 to 65536, --rate 1 to 1000000");
        }

        if (DiskWitness.Value.Length > 0)
        {
            // Not only after the store was filled.
            FlushedFile.Demand(DiskWitness.Value, Scale.DiskWitness.Flag);
        }

        return true;
    }
}
