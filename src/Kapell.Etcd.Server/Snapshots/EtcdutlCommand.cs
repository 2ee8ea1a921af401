using System.Globalization;
using System.Text.Json;
using Kapell.Base;
using Kapell.Mvcc;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Snapshots;

/// <summary>
/// The tool <c>etcdutl</c> for files of a store that is not running.
/// Exit codes are upstream's: 0, 1 it failed, 128 a wrong argument.
/// </summary>
public sealed class EtcdutlCommand
{
    private const int Failed = 1;
    private const int BadArguments = 128;
    private const string Usage = """
        A tool for files of etcd and of Kapell's store.

        Usage:
          etcdutl snapshot restore FILE [flags]   make a data directory out of a saved snapshot
          etcdutl restore --from DIR [flags]      make a data directory out of backups, as of a revision or a time
          etcdutl snapshot status FILE [flags]    hash, revision, keys and size of a saved snapshot
          etcdutl hashkv FILE [flags]             the hash over the history in it
          etcdutl log --data-dir DIR [flags]      what stands in a member's log
          etcdutl verify --data-dir DIR [flags]   whether all files of a member are whole and agree
          etcdutl defrag --data-dir DIR           has nothing to do, and says so
          etcdutl completion SHELL                a script with which bash, zsh, fish or powershell completes its words
          etcdutl version

        Every command has --help.
        """;

    private readonly TextWriter _output;
    private readonly TextWriter _errors;

    /// <param name="output">For results.</param>
    public EtcdutlCommand(TextWriter output, TextWriter errors) => (_output, _errors) = (output, errors);

    public async Task<int> RunAsync(IReadOnlyList<string> given)
    {
        IReadOnlyList<string> args = CommandFirst(given);
        (string verb, int words) = args switch
        {
            ["snapshot", "restore", ..] => ("snapshot restore", 2),
            ["snapshot", "status", ..] => ("snapshot status", 2),
            ["restore", ..] => ("restore", 1),
            ["hashkv", ..] => ("hashkv", 1),
            ["log", ..] => ("log", 1),
            ["verify", ..] => ("verify", 1),
            ["defrag", ..] => ("defrag", 1),
            ["completion", ..] => ("completion", 1),
            ["version", ..] => ("version", 1),
            _ => ("", 0),
        };
        try
        {
            return await RunAsync(verb, [.. args.Skip(words)], args);
        }
        catch (FlagException e)
        {
            await _errors.WriteLineAsync($"Error: {e.Message}");
            return BadArguments;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            await _errors.WriteLineAsync($"Error: {e.Message}");
            return Failed;
        }
    }

    private async Task<int> RunAsync(string verb, IReadOnlyList<string> rest, IReadOnlyList<string> all)
    {
        switch (verb)
        {
            case "snapshot restore":
                return await RestoreAsync(rest);
            case "restore":
                return await Backups.RestoreCommand.RunAsync(rest, _output, _errors);
            case "snapshot status":
                return await StatusAsync(rest);
            case "hashkv":
                return await HashAsync(rest);
            case "log":
                return await LogPrinter.RunAsync(rest, _output, _errors);
            case "verify":
                return await VerifyCommand.RunAsync(rest, _output, _errors);
            case "defrag":
                return await DefragAsync(rest);
            case "completion":
                await _output.WriteLineAsync((rest is [string shell] ? EtcdutlCompletion.For(shell) : null)
                    ?? throw new FlagException("completion is for one of bash, zsh, fish, powershell"));
                return 0;
            case "version":
                _output.WriteLine($"etcdutl version: {Rpc.EtcdVersion.Server}\nAPI version: 3.6");
                return 0;
            default:
                bool help = all.Count == 0 || all[0] is "help" or "--help" or "-h";
                await (help ? _output : _errors).WriteLineAsync(help ? Usage : $"Error: unknown command \"{Unknown(all)}\" for \"etcdutl\"\nRun 'etcdutl --help' for usage.");
                return help ? 0 : BadArguments;
        }
    }

    /// <summary>The word that is no command: of a group's, the second.</summary>
    private static string Unknown(IReadOnlyList<string> all) => all is ["snapshot", [not '-', ..], ..] ? $"snapshot {all[1]}" : all[0];

    /// <summary>The flag that all commands share may stand before the command, as in cobra's programs.</summary>
    private static IReadOnlyList<string> CommandFirst(IReadOnlyList<string> args)
    {
        int flags = 0;
        while (flags < args.Count && args[flags].TrimStart('-').Split('=')[0] is "write-out" or "w" && args[flags].StartsWith('-'))
        {
            flags += args[flags].Contains('=', StringComparison.Ordinal) ? 1 : 2;
        }

        return flags == 0 || flags >= args.Count ? args : [.. args.Skip(flags), .. args.Take(flags)];
    }

    // For scripts that were written for etcd: there is no file that grows holes.
    private async Task<int> DefragAsync(IReadOnlyList<string> args)
    {
        FlagSet flags = new("etcdutl defrag", "Defragments the storage of the given data directory: there is nothing to do, space comes back by itself.");
        FlagValue<string> data = flags.String("data-dir", "", "Required. Path to the data directory of a member that is not running.");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            await _output.WriteLineAsync(flags.Help());
            return 0;
        }

        if (data.Value.Length == 0)
        {
            throw new FlagException("required flag(s) \"data-dir\" not set");
        }

        if (!Directory.Exists(Path.Combine(data.Value, "member")))
        {
            throw new InvalidDataException($"Failed to defragment etcd data[{data.Value}] (it holds no member)");
        }

        using DirectoryLock held = DirectoryLock.Acquire(data.Value);
        await _output.WriteLineAsync($"finished defragmenting directory {data.Value}: there was nothing to do");
        return 0;
    }

    private async Task<int> RestoreAsync(IReadOnlyList<string> args)
    {
        FlagSet flags = new("etcdutl snapshot restore FILE", "Restores a saved snapshot, of etcd or of Kapell, to a data directory of Kapell.");
        FlagValue<string> data = flags.String("data-dir", "", "Path to the output data directory (default ${name}.etcd).");
        FlagValue<string> wal = flags.String("wal-dir", "", "Path to the WAL directory (use --data-dir if none given).");
        FlagValue<string> name = flags.String("name", "default", "Human-readable name for this member.");
        FlagValue<string> cluster = flags.String("initial-cluster", "default=http://localhost:2380", "Initial cluster configuration for restore bootstrap.");
        FlagValue<string> token = flags.String("initial-cluster-token", "etcd-cluster", "Initial cluster token for the etcd cluster during restore bootstrap.");
        FlagValue<IReadOnlyList<string>> urls = flags.List(
            "initial-advertise-peer-urls", ["http://localhost:2380"], "List of this member's peer URLs to advertise to the rest of the cluster.");
        FlagValue<bool> skip = flags.Bool("skip-hash-check", false, "Ignore snapshot integrity hash value (required if copied from data directory).");
        FlagValue<long> bump = BumpFlag(flags, out FlagValue<bool> compacted);
        flags.Long("initial-memory-map-size", 0, "Taken for compatibility: nothing is mapped.");
        if (Parse(flags, args) is not { } file)
        {
            return 0;
        }

        long bumped = BumpOf(bump, compacted);
        await Task.Run(() => SnapshotRestore.Run(new FileDisk(), new RestoreSettings
        {
            SnapshotPath = file,
            DataDirectory = data.Value.Length > 0 ? data.Value : name.Value + ".etcd",
            WalDirectory = wal.Value.Length > 0 ? wal.Value : null,
            Name = name.Value,
            PeerUrls = urls.Value,
            InitialCluster = ParseCluster(cluster.Value),
            ClusterToken = token.Value,
            SkipHashCheck = skip.Value,
            RevisionBump = bumped,
        }));
        foreach (string member in cluster.Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            await _errors.WriteLineAsync($"added member {member}"); // As etcd's log says it.
        }

        return 0;
    }

    /// <summary>Flags of the commands that restore.</summary>
    internal static FlagValue<long> BumpFlag(FlagSet flags, out FlagValue<bool> compacted)
    {
        compacted = flags.Bool("mark-compacted", false, "Mark the latest revision as compacted (required if --bump-revision > 0).");
        return flags.Long("bump-revision", 0, "How much to increase the latest revision after restore.");
    }

    /// <exception cref="FlagException">They go together only, or it leaves too few revisions for what is to come.</exception>
    internal static long BumpOf(FlagValue<long> bump, FlagValue<bool> compacted) => bump.Value is < 0 or > SnapshotRestore.RevisionBumpMax
        ? throw new FlagException($"--bump-revision must be between 0 and {SnapshotRestore.RevisionBumpMax}, it is {bump.Value}")
        : (bump.Value > 0) == compacted.Value ? bump.Value : throw new FlagException("--mark-compacted required if --revision-bump > 0");

    private async Task<int> StatusAsync(IReadOnlyList<string> args)
    {
        FlagSet flags = new("etcdutl snapshot status FILE", "Tells hash, revision, total keys and total size of a saved snapshot.");
        FlagValue<string> format = Format(flags);
        if (Parse(flags, args) is not { } path)
        {
            return 0;
        }

        DatabaseStatus status = await Task.Run(() => Read(path, static reader => reader.ReadStatus()));
        Print(format.Value, [
            ("hash", "Hash", status.Hash, $"{status.Hash:x}"),
            ("revision", "Revision", status.Revision, $"{status.Revision}"),
            ("totalKey", "Keys", status.TotalKeys, $"{status.TotalKeys}"),
            ("totalSize", "Size", status.TotalBytes, Humanize(status.TotalBytes)),
            ("version", "Version", status.Version, status.Version),
        ], ["hash", "revision", "total keys", "total size", "version"]);
        return 0;
    }

    private async Task<int> HashAsync(IReadOnlyList<string> args)
    {
        FlagSet flags = new("etcdutl hashkv FILE", "Prints the hash over the history in a database.");
        FlagValue<string> format = Format(flags);
        FlagValue<long> revision = flags.Long("rev", 0, "Maximum revision to hash (default: latest revision).");
        if (Parse(flags, args) is not { } path)
        {
            return 0;
        }

        (uint hash, long at, long compacted) = await Task.Run(() => Read(path, reader =>
        {
            using MvccStore store = reader.ReadStore();
            long asked = revision.Value == 0 ? store.Revision : revision.Value;
            Replication.EtcdError? error = Replication.ReplyEncoder.ToError(store.CheckRevision(asked));
            return error is null
                ? (StoreHash.Compute(store, asked), asked, store.CompactRevision == 0 ? -1 : store.CompactRevision)
                : throw new InvalidDataException(error.Text["etcdserver: ".Length..]);
        }));
        Print(format.Value, [
            ("hash", "Hash", hash, $"{hash}"),
            ("hashRevision", "Hash revision", at, $"{at}"),
            ("compactRevision", "Compact revision", compacted, $"{compacted}"),
        ], ["hash", "hash revision", "compact revision"]);
        return 0;
    }

    private static T Read<T>(string path, Func<DatabaseReader, T> read)
    {
        using IDiskFile file = new FileDisk().Open(path, DiskOpen.Read);
        return read(new DatabaseReader(file, path, SnapshotFile.DatabaseBytes(file)));
    }

    private static FlagValue<string> Format(FlagSet flags)
    {
        FlagValue<string> format = flags.String("write-out", "simple", "Set the output format (fields, json, simple, table).");
        flags.Alias("w", "write-out");
        return format;
    }

    /// <summary>The file; null when the help was wanted and is printed.</summary>
    private string? Parse(FlagSet flags, IReadOnlyList<string> args)
    {
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            _output.WriteLine(flags.Help());
            return null;
        }

        if (flags.Arguments.Count != 1)
        {
            throw new FlagException("requires exactly one argument: the file");
        }

        return File.Exists(flags.Arguments[0])
            ? flags.Arguments[0]
            : throw new InvalidDataException($"stat {flags.Arguments[0]}: no such file or directory");
    }

    /// <summary>"name=url,name=url": a name may stand several times.</summary>
    internal static List<(string Name, IReadOnlyList<string> Urls)> ParseCluster(string text)
    {
        List<(string Name, string Url)> pairs = [];
        foreach (string part in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            string[] sides = part.Split('=', 2);
            bool good = sides.Length == 2 && sides[0].Length > 0 && Uri.TryCreate(sides[1], UriKind.Absolute, out Uri? uri) && uri.Scheme is "http" or "https";
            pairs.Add(good ? (sides[0], sides[1]) : throw new FlagException($"--initial-cluster: \"{part}\" is not name=http(s)://host:port"));
        }

        return [.. pairs.GroupBy(static p => p.Name).Select(static g => (g.Key, (IReadOnlyList<string>)[.. g.Select(static p => p.Url)]))];
    }

    private void Print(string format, IReadOnlyList<(string Json, string Field, object Value, string Text)> cells, IReadOnlyList<string> titles)
    {
        switch (format)
        {
            case "simple":
                _output.WriteLine(string.Join(", ", cells.Select(static c => c.Text)));
                break;
            case "json":
                string Encode(object v) => v is string s ? JsonEncodedText.Encode(s) is var e ? $"\"{e}\"" : "" : Convert.ToString(v, CultureInfo.InvariantCulture)!;
                _output.WriteLine("{" + string.Join(",", cells.Select(c => $"\"{c.Json}\":{Encode(c.Value)}")) + "}");
                break;
            case "fields":
                foreach ((_, string field, object value, _) in cells)
                {
                    _output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"\"{field}\" : {value}"));
                }

                break;
            case "table":
                PrintTable(titles, [.. cells.Select(static c => c.Text)]);
                break;
            default:
                throw new FlagException("unsupported output format");
        }
    }

    private void PrintTable(IReadOnlyList<string> titles, IReadOnlyList<string> cells)
    {
        int[] widths = [.. titles.Select((t, i) => Math.Max(t.Length, cells[i].Length))];
        string line = "+" + string.Concat(widths.Select(static w => new string('-', w + 2) + "+"));
        _output.WriteLine(line);
        _output.WriteLine("|" + string.Concat(titles.Select((t, i) => " " + t.ToUpperInvariant().PadRight(widths[i]) + " |")));
        _output.WriteLine(line);
        _output.WriteLine("|" + string.Concat(cells.Select((c, i) => " " + c.PadLeft(widths[i]) + " |")));
        _output.WriteLine(line);
    }

    /// <summary>As upstream's table: powers of 1000, one digit behind the point below ten.</summary>
    private static string Humanize(long bytes)
    {
        string[] units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
        int unit = bytes < 10 ? 0 : Math.Min(units.Length - 1, (int)Math.Floor(Math.Log(bytes, 1000)));
        double value = Math.Floor((bytes / Math.Pow(1000, unit) * 10) + 0.5) / 10;
        return bytes >= 10 && value < 10
            ? string.Create(CultureInfo.InvariantCulture, $"{value:0.0} {units[unit]}")
            : string.Create(CultureInfo.InvariantCulture, $"{value:0} {units[unit]}");
    }
}
