using System.Text.Json;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Raft;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>What a .snap file says: who is a member after all entries up to its position.</summary>
/// <param name="HasUserKeys">It holds keys of the API of version 2, which nothing here can serve.</param>
internal sealed record EtcdMembership(LogPosition Position, ConfState Conf, MemberRegistry Members, bool HasUserKeys)
{
    /// <summary>Before the first entry.</summary>
    public static EtcdMembership None() => new(default, ConfState.Empty, new MemberRegistry(), false);
}

/// <summary>
/// The .snap files of a member. Each holds a checksum, the configuration of Raft, and the store of version 2 as JSON, in which all versions up
/// to 3.6 keep the members. etcd: api/snap/snapshotter.go, api/membership/storev2.go
/// </summary>
internal static class EtcdSnapshotFiles
{
    private const string Extension = ".snap";
    private const int DepthMax = 1024;

    /// <summary>The newest that is whole and that the log knows; a damaged one is named to <paramref name="skipped"/>, as etcd passes over it.</summary>
    public static EtcdMembership ReadNewest(IDisk disk, string directory, IReadOnlySet<(ulong Index, ulong Term)> known, Action<string> skipped)
    {
        foreach (string name in disk.List(directory).Where(static n => n.EndsWith(Extension, StringComparison.Ordinal)).Reverse())
        {
            string path = Path.Combine(directory, name);
            try
            {
                EtcdMembership found = Read(disk, path);
                if (known.Contains((found.Position.Index.Value, found.Position.Term.Value)))
                {
                    return found;
                }
            }
            catch (Exception e) when (e is FormatException or InvalidProtocolBufferException or JsonException or InvalidOperationException or KeyNotFoundException)
            {
                skipped($"{path}: {e.Message}");
            }
        }

        return EtcdMembership.None();
    }

    public static ConfState ToConfState(EtcdConfState conf) => new()
    {
        Voters = Ids(conf.Voters),
        Learners = Ids(conf.Learners),
        VotersOutgoing = Ids(conf.VotersOutgoing),
        LearnersNext = Ids(conf.LearnersNext),
        AutoLeave = conf.AutoLeave,
    };

    private static System.Collections.Immutable.ImmutableArray<MemberId> Ids(IEnumerable<ulong> ids) =>
        [.. ids.Distinct().Order().Select(static i => new MemberId(i))];

    private static EtcdMembership Read(IDisk disk, string path)
    {
        using IDiskFile file = disk.Open(path, DiskOpen.Read);
        byte[] bytes = new byte[file.Length <= Array.MaxLength ? file.Length : throw new FormatException("it is too large to be a snapshot")];
        if (file.Read(0, bytes) != bytes.Length || bytes.Length == 0)
        {
            throw new FormatException("snap: empty snapshot");
        }

        EtcdSnapshotFile whole = EtcdSnapshotFile.Parser.ParseFrom(bytes);
        if (whole.Data.IsEmpty || Crc32C.Compute(whole.Data.Span) != whole.Crc)
        {
            throw new FormatException("snap: crc mismatch");
        }

        EtcdSnapshot snapshot = EtcdSnapshot.Parser.ParseFrom(whole.Data);
        if (snapshot.Metadata is not { Index: > 0, Term: > 0, ConfState: not null })
        {
            throw new FormatException("it does not say which entry it is of");
        }

        using JsonDocument store = JsonDocument.Parse(snapshot.Data.Memory, new JsonDocumentOptions { MaxDepth = DepthMax });
        JsonElement root = store.RootElement.GetProperty("Root");
        bool userKeys = Child(root, "1") is { } user && Children(user).Any();
        LogPosition position = new(new Term(snapshot.Metadata.Term), new LogIndex(snapshot.Metadata.Index));
        return new EtcdMembership(position, ToConfState(snapshot.Metadata.ConfState), ReadMembers(root), userKeys);
    }

    private static MemberRegistry ReadMembers(JsonElement root)
    {
        MemberRegistry members = new();
        JsonElement cluster = Child(root, "0") ?? throw new FormatException("it holds no members");
        foreach (JsonProperty node in Children(Child(cluster, "members") ?? default))
        {
            Member member = new() { ID = Id(node.Name) };
            foreach (JsonProperty part in Children(node.Value).Where(static p => p.Name is "raftAttributes" or "attributes"))
            {
                MemberJson.Read(part.Value.GetProperty("Value").GetString() ?? "", member);
            }

            members.Set(member);
        }

        foreach (JsonProperty node in Children(Child(cluster, "removed_members") ?? default))
        {
            members.RestoreRemoved(Id(node.Name));
        }

        return members;
    }

    private static ulong Id(string name) => PeerProtocol.TryHex(name, out ulong id)
        ? id : throw new FormatException($"\"{name}\" is no number of a member");

    private static JsonElement? Child(JsonElement node, string name) =>
        Children(node).Where(c => c.Name == name).Select(static c => (JsonElement?)c.Value).FirstOrDefault();

    private static IEnumerable<JsonProperty> Children(JsonElement node) =>
        node.ValueKind == JsonValueKind.Object && node.TryGetProperty("Children", out JsonElement children) && children.ValueKind == JsonValueKind.Object
            ? children.EnumerateObject()
            : [];
}
