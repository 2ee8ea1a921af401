using System.Diagnostics;
using System.Security.Cryptography;
using Kapell.Base;

namespace Kapell.Fuzz.Inputs;

/// <summary>Feeds one target for a while: inputs from a seed, each timed and weighed. What breaks it is kept as a file.</summary>
internal sealed class Runner(string findings)
{
    private const int FindingsMax = 5; // Of one target.
    private readonly Lock _lock = new();
    private (FuzzTarget Target, byte[] Input, long Begun)? _now;
    private readonly List<string> _found = [];

    public IReadOnlyList<string> Found => _found;

    /// <summary>Looks at the clock beside everything else: an input that never ends ends the program, with its bytes kept.</summary>
    public void WatchOver()
    {
        Thread watch = new(() =>
        {
            while (true)
            {
                Thread.Sleep(500);
                lock (_lock)
                {
                    if (_now is { } now && Stopwatch.GetElapsedTime(now.Begun) > now.Target.TimeMax)
                    {
                        Console.WriteLine($"not ok {now.Target.Name} hangs: {Keep(now.Target, now.Input, "hang")}");
                        Environment.Exit(1);
                    }
                }
            }
        })
        { IsBackground = true };
        watch.Start();
    }

    public void Run(FuzzTarget target, TimeSpan time, ulong seed)
    {
        int before = _found.Count;
        Mutator mutator = new(new Prng(seed));
        IReadOnlyList<byte[]> corpus = target.Corpus;
        foreach (byte[] valid in corpus)
        {
            if (!One(target, valid))
            {
                Note($"{target.Name} refuses a valid input of its corpus: {Keep(target, valid, "valid")}");
            }
        }

        long begun = Stopwatch.GetTimestamp();
        (long count, long accepted, long bytes) = (0, 0, 0);
        while (Stopwatch.GetElapsedTime(begun) < time && _found.Count < before + FindingsMax)
        {
            byte[] input = target.Mutate(mutator, corpus[mutator.Prng.NextInt(0, corpus.Count)]);
            accepted += One(target, input) ? 1 : 0;
            bytes += input.Length;
            count++;
        }

        double seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        Console.WriteLine($"ok {target.Name,-16} {count,9} inputs {count / seconds,9:f0}/s {bytes / 1048576.0,8:f1} MB, {accepted,8} accepted, resident {Environment.WorkingSet >> 20} MB");
    }

    /// <summary>One input of a kept file again.</summary>
    public bool One(FuzzTarget target, byte[] input)
    {
        lock (_lock)
        {
            _now = (target, input, Stopwatch.GetTimestamp());
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        bool accepted = false;
        try
        {
            accepted = target.Run(input);
        }
        catch (Exception e)
        {
            Note($"{target.Name}: {e.GetType().Name}: {e.Message}\n{e.StackTrace}\n  input: {Keep(target, input, e.GetType().Name)}");
        }

        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        lock (_lock)
        {
            _now = null;
        }

        if (allocated > target.AllocatedMax(input.Length))
        {
            Note($"{target.Name}: {allocated >> 20} MB for an input of {input.Length} bytes: {Keep(target, input, "memory")}");
        }

        return accepted;
    }

    public void Note(string finding)
    {
        // One of a kind is enough.
        string kind = string.Join('\n', finding.Split("input:")[0].Split('\n').Take(6));
        lock (_found)
        {
            if (!_found.Any(f => f.StartsWith(kind, StringComparison.Ordinal)))
            {
                _found.Add(finding);
                Console.WriteLine("not ok " + finding);
            }
        }
    }

    private string Keep(FuzzTarget target, byte[] input, string why)
    {
        Directory.CreateDirectory(findings);
        string path = Path.Combine(findings, $"{target.Name}-{why}-{Convert.ToHexString(SHA256.HashData(input))[..12]}");
        File.WriteAllBytes(path, input);
        return path;
    }
}
