using System.Globalization;
using System.Text;
using System.Text.Json;
using Kapell.Base;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Takeover;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Snapshots;

/// <summary>The command <c>etcdutl verify</c>.</summary>
internal static class VerifyCommand
{
    private const int Failed = 1;

    /// <exception cref="FlagException">A flag is wrong.</exception>
    /// <exception cref="InvalidDataException">It is no directory of a member; the message says what it is.</exception>
    /// <exception cref="DirectoryLockedException">A member uses it.</exception>
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, TextWriter errors)
    {
        FlagSet flags = new(
            "etcdutl verify --data-dir DIR",
            "Reads all files of a member that is not running: checksums, that log and checkpoints make one history, and what it holds. Changes nothing.");
        FlagValue<string> data = flags.String("data-dir", "", "Required. Path to the member's data directory.");
        FlagValue<string> wal = flags.String("wal-dir", "", "Path to the log, when it is not in the data directory.");
        FlagValue<string> format = flags.String("write-out", "simple", "Set the output format (json, simple).");
        flags.Alias("w", "write-out");
        flags.Examples.Add("etcdutl verify --data-dir default.etcd");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            await output.WriteLineAsync(flags.Help());
            return 0;
        }

        if (data.Value.Length == 0)
        {
            throw new FlagException("required flag(s) \"data-dir\" not set");
        }

        if (flags.Arguments.Count > 0)
        {
            throw new FlagException($"unknown argument \"{flags.Arguments[0]}\"");
        }

        if (format.Value is not ("json" or "simple"))
        {
            throw new FlagException("unsupported output format");
        }

        FileDisk disk = new();
        ReplicaSettings settings = new() { DataDirectory = data.Value, DedicatedWalDirectory = wal.Value.Length > 0 ? wal.Value : null };
        DirectoryFindings found;
        using (DirectoryLock? held = Hold(data.Value))
        {
            RefuseUnlessMember(disk, settings);
            found = await Task.Run(() => new DirectoryCheck(disk, settings).Run());
        }

        if (format.Value == "json")
        {
            await output.WriteLineAsync(Json(found));
        }
        else
        {
            await PrintAsync(found, data.Value, output, errors);
        }

        return found.Faults.Count == 0 ? 0 : Failed;
    }

    /// <summary>Nothing is written, not even who reads: only a lock that is there is held. Null: no member ever ran here.</summary>
    private static DirectoryLock? Hold(string directory)
    {
        string file = Path.Combine(directory, "lock");
        return File.Exists(file) ? DirectoryLock.TryHold(file) ?? DirectoryLock.Acquire(directory) : null;
    }

    private static void RefuseUnlessMember(FileDisk disk, ReplicaSettings settings)
    {
        if (!Directory.Exists(Path.Combine(settings.DataDirectory, "member")))
        {
            throw new InvalidDataException($"{settings.DataDirectory} holds no member: is --data-dir that of one?");
        }

        if (!Directory.Exists(settings.WalDirectory))
        {
            throw new InvalidDataException($"{settings.WalDirectory}: no such directory; is the log elsewhere (--wal-dir)?");
        }

        IReadOnlyList<string> names = disk.List(settings.WalDirectory);
        if (names.Any(n => EtcdSegment.Parse(settings.WalDirectory, n) is not null))
        {
            throw new InvalidDataException($"{settings.DataDirectory} is of etcd, not of Kapell: `kapell etcd` takes it over when it is started on it");
        }

        if (!names.Any(static n => n.EndsWith(".wal", StringComparison.Ordinal)))
        {
            throw new InvalidDataException($"{settings.WalDirectory} holds no log of Kapell's; is the log elsewhere (--wal-dir)?");
        }
    }

    private static async Task PrintAsync(DirectoryFindings found, string directory, TextWriter output, TextWriter errors)
    {
        foreach (DirectoryFault fault in found.Faults)
        {
            string place = fault.Offset is { } offset ? string.Create(CultureInfo.InvariantCulture, $"{fault.File} is damaged at offset {offset}") : fault.File;
            await errors.WriteLineAsync($"Error: {place}: {fault.Reason}\n  next: {fault.Next}");
        }

        if (found.Faults.Count == 0)
        {
            StringBuilder text = new();
            text.AppendLine(CultureInfo.InvariantCulture, $"{directory} is whole");
            text.AppendLine(CultureInfo.InvariantCulture, $"  member      {found.Identity.Member:x} of cluster {found.Identity.Cluster:x}, which has {found.Members}");
            text.AppendLine(found.Checkpoint is { } newest
                ? string.Create(CultureInfo.InvariantCulture, $"  checkpoint  at entry {newest.Tag}, {newest.FileBytes} bytes; checkpoints: {found.Checkpoints}")
                : "  checkpoint  none");
            text.AppendLine(CultureInfo.InvariantCulture, $"  log         {Entries(found)}, term {found.State.Term}, committed {found.State.Commit}; segments: {found.Segments}");
            text.AppendLine(CultureInfo.InvariantCulture, $"  content     revision {found.Revision}, compacted {found.CompactRevision}, {found.Keys} keys, hash {found.Hash}");
            await output.WriteAsync(text);
        }

        foreach (string note in found.Notes)
        {
            await output.WriteLineAsync($"note: {note}");
        }
    }

    private static string Entries(DirectoryFindings found) =>
        found.Entries.Last == 0 ? "no entries after it" : string.Create(CultureInfo.InvariantCulture, $"entries {found.Entries.First} to {found.Entries.Last}");

    private static string Json(DirectoryFindings found)
    {
        using MemoryStream bytes = new();
        using (Utf8JsonWriter json = new(bytes))
        {
            json.WriteStartObject();
            json.WriteBoolean("whole", found.Faults.Count == 0);
            json.WriteNumber("clusterId", found.Identity.Cluster);
            json.WriteNumber("memberId", found.Identity.Member);
            json.WriteNumber("members", found.Members);
            json.WriteNumber("checkpointIndex", found.Checkpoint?.Tag ?? 0);
            json.WriteNumber("checkpointSize", found.Checkpoint?.FileBytes ?? 0);
            json.WriteNumber("firstEntry", found.Entries.First);
            json.WriteNumber("lastEntry", found.Entries.Last);
            json.WriteNumber("term", found.State.Term.Value);
            json.WriteNumber("commit", found.State.Commit.Value);
            json.WriteNumber("revision", found.Revision);
            json.WriteNumber("compactRevision", found.CompactRevision);
            json.WriteNumber("totalKey", found.Keys);
            json.WriteNumber("hash", found.Hash);
            json.WriteStartArray("notes");
            found.Notes.ForEach(json.WriteStringValue);
            json.WriteEndArray();
            json.WriteStartArray("faults");
            foreach (DirectoryFault fault in found.Faults)
            {
                json.WriteStartObject();
                json.WriteString("file", fault.File);
                if (fault.Offset is { } offset)
                {
                    json.WriteNumber("offset", offset);
                }

                json.WriteString("reason", fault.Reason);
                json.WriteString("next", fault.Next);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(bytes.ToArray());
    }
}
