using System.Text;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Takeover;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Wal;

namespace Kapell.Etcd.Server.Snapshots;

/// <summary>
/// Shows what stands in a member's write-ahead log, a line for each record, as it was written: an entry whose index was there before takes
/// the place of that one and of all behind it (Raft §5.3). Reads only, and may run beside the member, whose last records may then be missing.
/// Passwords are not shown.
/// </summary>
internal sealed class LogPrinter(TextWriter output, bool json, ulong from)
{
    private const int ShownBytes = 64;
    private const string Hidden = "***";
    private static readonly JsonFormatter Formatter = new(JsonFormatter.Settings.Default.WithPreserveProtoFieldNames(true));

    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, TextWriter errors)
    {
        FlagSet flags = new(
            "etcdutl log --data-dir DIR",
            "Prints a member's log: term and index of each entry and what it asks for, votes and commits, and who the member is.");
        FlagValue<string> data = flags.String("data-dir", "", "Required. Path to the member's data directory.");
        FlagValue<string> wal = flags.String("wal-dir", "", "Path to the log, when it is not in the data directory.");
        FlagValue<long> from = flags.Long("from", 0, "The first index to print.");
        FlagValue<string> format = flags.String("write-out", "simple", "Set the output format (json, a line for each record; simple).");
        flags.Alias("w", "write-out");
        flags.Examples.Add("etcdutl log --data-dir default.etcd --from 1000");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            await output.WriteLineAsync(flags.Help());
            return 0;
        }

        string directory = wal.Value.Length > 0 ? wal.Value
            : data.Value.Length > 0 ? Path.Combine(data.Value, "member", "wal")
            : throw new FlagException("required flag(s) \"data-dir\" not set");
        if (format.Value is not ("json" or "simple"))
        {
            throw new FlagException("unsupported output format");
        }

        if (!Directory.Exists(directory))
        {
            throw new InvalidDataException($"{directory}: no such directory; is --data-dir that of a member?");
        }

        if (from.Value < 0)
        {
            throw new FlagException("--from must not be negative");
        }

        LogPrinter printer = new(output, format.Value == "json", (ulong)from.Value);
        WalRecovery found = await Task.Run(() => WriteAheadLog.Read(new FileDisk(), directory, new WalOptions(), printer.Print));
        if (found.Records == 0)
        {
            string reader = new FileDisk().List(directory).Any(n => EtcdSegment.Parse(directory, n) is not null) ? ": it is etcd's, for which etcd-dump-logs is" : "";
            throw new InvalidDataException($"{directory} holds no log of Kapell's{reader}");
        }

        if (found.TornFile is not null)
        {
            await errors.WriteLineAsync($"the log ends in the middle of a record, at {found.TornOffset} in {found.TornFile}: a crash, or it is being written");
        }

        return 0;
    }

    public void Print(WalRecord record)
    {
        switch (record.Type)
        {
            case LogRecords.EntryType:
                Entry entry = LogRecords.ToEntry(record);
                if (entry.Index.Value >= from)
                {
                    Print(entry);
                }

                break;
            case LogRecords.StateType:
                HardState state = LogRecords.ToState(record);
                Line("state", ("term", state.Term.Value), ("vote", state.Vote.Value), ("commit", state.Commit.Value));
                break;
            case LogRecords.IdentityType:
                (ulong cluster, ulong member) = LogRecords.ToIdentity(record);
                Line("identity", ("cluster", cluster), ("member", member));
                break;
            case LogRecords.CheckpointType:
                LogPosition place = LogRecords.ToCheckpoint(record);
                Line("checkpoint", ("term", place.Term.Value), ("index", place.Index.Value));
                break;
            default:
                throw new InvalidDataException($"the log holds a record of type {record.Type}: written by a newer version?");
        }
    }

    private void Print(Entry entry)
    {
        if (entry.Kind == EntryKind.ConfChange)
        {
            Print(entry, "ConfChange", null, ChangeOf(entry));
        }
        else if (entry.Data.IsEmpty)
        {
            Print(entry, "Empty", null, null);
        }
        else
        {
            Command command = Command.Decode(entry.Data.Span);
            Print(entry, command.Kind.ToString(), command.Caller.IsNobody ? null : command.Caller.Name, Shown(command.Request));
        }
    }

    private static string ChangeOf(Entry entry)
    {
        if (!ConfChange.TryDecode(entry.Data, out ConfChange change))
        {
            throw new InvalidDataException($"entry {entry.Index} holds no change of membership");
        }

        string steps = change.IsLeaveJoint ? "leave joint" : string.Join(", ", change.Steps.Select(static s => $"{s.Kind} {s.Member.Value:x}"));
        return MembershipContext.Decode(change.Context).Member is { } member ? $"{steps} {Text(member)}" : steps;
    }

    private void Print(Entry entry, string command, string? user, object? request)
    {
        if (!json)
        {
            string caller = user is null ? "" : $" by {user}";
            string what = request is IMessage message ? Text(message) : request as string ?? "";
            output.WriteLine($"{entry.Term.Value,6} {entry.Index.Value,12}  {command}{caller}{(what.Length > 0 ? " " : "")}{what}");
            return;
        }

        string who = user is null ? "" : $",\"user\":\"{JsonEncodedText.Encode(user)}\"";
        string body = request switch
        {
            IMessage message => $",\"request\":{Formatter.Format(message)}",
            string text => $",\"change\":\"{JsonEncodedText.Encode(text)}\"",
            _ => "",
        };
        output.WriteLine($"{{\"record\":\"entry\",\"term\":{entry.Term.Value},\"index\":{entry.Index.Value},\"command\":\"{command}\"{who}{body}}}");
    }

    private void Line(string record, params ReadOnlySpan<(string Name, ulong Value)> values)
    {
        StringBuilder line = new(json ? $"{{\"record\":\"{record}\"" : $"{"",6} {"",12}  {record}");
        foreach ((string name, ulong value) in values)
        {
            line.Append(json ? $",\"{name}\":{value}" : name is "term" or "index" or "commit" ? $" {name}={value}" : $" {name}={value:x}");
        }

        output.WriteLine(line.Append(json ? "}" : ""));
    }

    private static IMessage Shown(IMessage request)
    {
        switch (request)
        {
            case AuthUserAddRequest add:
                add.Password = add.Password.Length > 0 ? Hidden : "";
                add.HashedPassword = add.HashedPassword.Length > 0 ? Hidden : "";
                break;
            case AuthUserChangePasswordRequest change:
                change.Password = change.Password.Length > 0 ? Hidden : "";
                change.HashedPassword = change.HashedPassword.Length > 0 ? Hidden : "";
                break;
            case TokenGrant grant:
                grant.Prefix = Hidden;
                break;
        }

        return request;
    }

    /// <summary>The fields that are set, by name; long bytes cut.</summary>
    private static string Text(IMessage message)
    {
        List<string> parts = [];
        foreach (FieldDescriptor field in message.Descriptor.Fields.InFieldNumberOrder())
        {
            object value = field.Accessor.GetValue(message);
            if (field.IsRepeated && value is System.Collections.IList list)
            {
                parts.AddRange(list.Cast<object>().Select(v => $"{field.Name}={Text(field, v)}"));
            }
            else if (field.HasPresence ? field.Accessor.HasValue(message) : !IsDefault(value))
            {
                parts.Add($"{field.Name}={Text(field, value)}");
            }
        }

        return string.Join(' ', parts);
    }

    private static bool IsDefault(object value) => value switch
    {
        ByteString bytes => bytes.IsEmpty,
        string text => text.Length == 0,
        bool flag => !flag,
        Enum number => Convert.ToInt64(number, null) == 0,
        IConvertible number => number.ToDouble(null) == 0,
        _ => false,
    };

    private static string Text(FieldDescriptor field, object value) => value switch
    {
        IMessage nested => $"{{{Text(nested)}}}",
        ByteString bytes => Quote(bytes.Span),
        string text => Quote(Encoding.UTF8.GetBytes(text)),
        ulong id => $"{id:x}",
        long lease when field.Name is "lease" or "ID" => $"{lease:x}",
        _ => FormattableString.Invariant($"{value}"),
    };

    private static string Quote(ReadOnlySpan<byte> bytes) =>
        $"\"{ByteText.Show(bytes, ShownBytes)}\"" + (bytes.Length > ShownBytes ? $" ({bytes.Length} bytes)" : "");
}
