using System.Text.Json;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc.Auth;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>
/// Entries of etcd's log as entries of ours with the same index, term and effect. What has no effect here (reads, versions agreed on, keys of
/// the API of version 2) becomes an entry without data. etcd: etcdserver/server.go applyEntryNormal, applyConfChange
/// </summary>
internal sealed class EntryTranslator(ulong cluster, string log)
{
    private const int NormalType = 0;
    private const int ConfChangeType = 1;
    private const int ConfChangeV2Type = 2;
    private const int UpdateMember = 2;
    private const string MembersPath = "/0/members/";
    private const string AttributesName = "/attributes";
    private static readonly string[] MethodsV2 = ["PUT", "POST", "DELETE", "QGET", "GET", "SYNC", "HEAD"];

    /// <summary>Requests of the API of version 2 for users' keys, which nothing here serves.</summary>
    public int UserRequestsV2 { get; private set; }

    /// <summary>More etcd did not take in at a time.</summary>
    public int LearnersMax { get; init; } = 1;

    /// <exception cref="TakeoverException">The entry is not understood.</exception>
    public Entry Translate(EtcdEntry entry)
    {
        try
        {
            (EntryKind kind, byte[] data) = entry.Type switch
            {
                NormalType => (EntryKind.Normal, Normal(entry)),
                ConfChangeType => OfConfChange(EtcdConfChange.Parser.ParseFrom(entry.Data)),
                ConfChangeV2Type => (EntryKind.ConfChange, OfConfChange(EtcdConfChangeV2.Parser.ParseFrom(entry.Data))),
                _ => throw new FormatException($"it is of the unknown type {entry.Type}"),
            };
            return new Entry(new LogIndex(entry.Index), new Term(entry.Term), kind, data);
        }
        catch (Exception e) when (e is FormatException or InvalidProtocolBufferException or JsonException or InvalidOperationException)
        {
            throw new TakeoverException($"{log} cannot be taken over from etcd: entry {entry.Index} is not understood: {e.Message}");
        }
    }

    /// <summary>Whether the entry may say something of the members.</summary>
    public static bool ConcernsMembers(EtcdEntry entry) =>
        entry.Type != NormalType || (!entry.Data.IsEmpty && (OfVersion2(entry.Data) is not null || (TryRequest(entry.Data) is { } r && (r.V2 ?? (object?)r.ClusterMemberAttrSet) is not null)));

    private static EtcdRequest? TryRequest(ByteString data)
    {
        try
        {
            return EtcdRequest.Parser.ParseFrom(data);
        }
        catch (InvalidProtocolBufferException)
        {
            return null;
        }
    }

    /// <summary>The request, when the data is one of the API of version 2 by itself, as members up to 3.4 write them.</summary>
    private static EtcdRequestV2? OfVersion2(ByteString data)
    {
        try
        {
            return EtcdRequestV2.Parser.ParseFrom(data) is { } request && MethodsV2.Contains(request.Method) ? request : null;
        }
        catch (InvalidProtocolBufferException)
        {
            // Then it is one of version 3, or nothing; whoever translates it says so.
            return null;
        }
    }

    private byte[] Normal(EtcdEntry entry)
    {
        if (entry.Data.IsEmpty)
        {
            return [];
        }

        if (OfVersion2(entry.Data) is { } v2)
        {
            return Version2(v2);
        }

        EtcdRequest request = EtcdRequest.Parser.ParseFrom(entry.Data);
        if (request.V2 is not null)
        {
            return Version2(request.V2);
        }

        (CommandKind kind, IMessage? message) = Content(request) is { Message: not null } store ? store : AuthContent(request, entry.Index);
        if (message is null)
        {
            return HasNoEffect(request) ? [] : throw new FormatException("it holds a request that this version does not know");
        }

        // Nobody waits for the answer any more, so it has no number.
        EtcdRequestHeader? header = request.Header;
        Caller caller = string.IsNullOrEmpty(header?.Username) ? default : new Caller(header.Username, header.AuthRevision);
        return new Command(0, kind, message) { Caller = caller }.Encode();
    }

    private static (CommandKind Kind, IMessage? Message) Content(EtcdRequest request) => request switch
    {
        { Put: { } m } => (CommandKind.Put, m),
        { DeleteRange: { } m } => (CommandKind.DeleteRange, m),
        { Txn: { } m } => (CommandKind.Txn, m),
        { Compaction: { } m } => (CommandKind.Compact, m),
        { LeaseGrant: { ID: not 0 } m } => (CommandKind.LeaseGrant, m),
        { LeaseGrant: not null } => throw new FormatException("it grants a lease without a number"),
        { LeaseRevoke: { } m } => (CommandKind.LeaseRevoke, m),
        { LeaseCheckpoint: { } m } => (CommandKind.LeaseCheckpoint, m),
        { Alarm: { Action: not AlarmRequest.Types.AlarmAction.Get } m } => (CommandKind.Alarm, m),
        { ClusterMemberAttrSet: { MemberAttributes: { } a } m } => (CommandKind.MemberAttributes, Attributes(m.MemberId, a)),
        _ => default,
    };

    private (CommandKind Kind, IMessage? Message) AuthContent(EtcdRequest request, ulong index) => request switch
    {
        { AuthEnable: { } m } => (CommandKind.AuthEnable, m),
        { AuthDisable: { } m } => (CommandKind.AuthDisable, m),
        { Authenticate: { } m } => (CommandKind.TokenGrant, new TokenGrant { User = m.Name, Prefix = m.SimpleToken }),
        { AuthUserAdd: { } m } => (CommandKind.UserAdd, Hashed(m, index)),
        { AuthUserDelete: { } m } => (CommandKind.UserDelete, m),
        { AuthUserChangePassword: { } m } => (CommandKind.UserChangePassword, Hashed(m, index)),
        { AuthUserGrantRole: { } m } => (CommandKind.UserGrantRole, m),
        { AuthUserRevokeRole: { } m } => (CommandKind.UserRevokeRole, m),
        { AuthRoleAdd: { } m } => (CommandKind.RoleAdd, m),
        { AuthRoleDelete: { } m } => (CommandKind.RoleDelete, m),
        { AuthRoleGrantPermission: { } m } => (CommandKind.RoleGrantPermission, m),
        { AuthRoleRevokePermission: { } m } => (CommandKind.RoleRevokePermission, m),
        _ => default,
    };

    private static bool HasNoEffect(EtcdRequest request) => request is { Range: not null } or { Alarm: not null } or { AuthStatus: not null }
        or { AuthUserGet: not null } or { AuthUserList: not null } or { AuthRoleGet: not null } or { AuthRoleList: not null }
        or { ClusterVersionSet: not null } or { ClusterMemberAttrSet: not null } or { DowngradeInfoSet: not null } or { DowngradeVersionTest: not null };

    private AuthUserAddRequest Hashed(AuthUserAddRequest request, ulong index)
    {
        if (request.HashedPassword.Length > 0 || (request.Options?.NoPassword ?? false))
        {
            return request;
        }

        AuthUserAddRequest hashed = request.Clone();
        (hashed.HashedPassword, hashed.Password) = (PasswordHash.Of(request.Password, cluster, index), "");
        return hashed;
    }

    private AuthUserChangePasswordRequest Hashed(AuthUserChangePasswordRequest request, ulong index)
    {
        if (request.HashedPassword.Length > 0)
        {
            return request;
        }

        AuthUserChangePasswordRequest hashed = request.Clone();
        (hashed.HashedPassword, hashed.Password) = (PasswordHash.Of(request.Password, cluster, index), "");
        return hashed;
    }

    /// <summary>Members tell their names so up to 3.5. etcd: apply_v2.go Put</summary>
    private byte[] Version2(EtcdRequestV2 request)
    {
        bool names = request.Method == "PUT" && request.Path.StartsWith(MembersPath, StringComparison.Ordinal)
            && request.Path.EndsWith(AttributesName, StringComparison.Ordinal);
        if (!names)
        {
            UserRequestsV2 += request.Path.StartsWith("/1/", StringComparison.Ordinal) ? 1 : 0;
            return [];
        }

        string id = request.Path[MembersPath.Length..^AttributesName.Length];
        Member member = new();
        MemberJson.Read(request.Val, member);
        member.ID = PeerProtocol.TryHex(id, out ulong number)
            ? number : throw new FormatException($"\"{id}\" is no number of a member");
        return new Command(0, CommandKind.MemberAttributes, member).Encode();
    }

    private static Member Attributes(ulong id, EtcdMemberAttributes attributes)
    {
        Member member = new() { ID = id, Name = attributes.Name };
        member.ClientURLs.AddRange(attributes.ClientUrls);
        return member;
    }

    private (EntryKind Kind, byte[] Data) OfConfChange(EtcdConfChange change)
    {
        Member member = new() { ID = change.NodeId };
        bool promotes = !change.Context.IsEmpty && MemberJson.Read(change.Context.ToStringUtf8(), member);
        if (member.ID != change.NodeId)
        {
            throw new FormatException($"it changes member {change.NodeId:x} and names {member.ID:x}");
        }

        if (change.Type == UpdateMember)
        {
            return (EntryKind.Normal, new Command(0, CommandKind.MemberUpdate, member).Encode());
        }

        ConfChangeKind kind = Kind(change.Type);
        MembershipContext context = new(0, promotes || kind == ConfChangeKind.Remove ? null : member) { LearnersMax = LearnersMax };
        return (EntryKind.ConfChange, ConfChange.Of(kind, new MemberId(change.NodeId), context.Encode()).Encode());
    }

    private static byte[] OfConfChange(EtcdConfChangeV2 change)
    {
        ConfChangeStep[] steps = [.. change.Changes.Select(static c => new ConfChangeStep(Kind(c.Type), new MemberId(c.NodeId)))];
        byte[] context = steps.Length == 0 ? [] : new MembershipContext(0, null).Encode();
        return new ConfChange(steps, (ConfChangeTransition)change.Transition, context).Encode();
    }

    private static ConfChangeKind Kind(int type) => type switch
    {
        0 => ConfChangeKind.AddVoter,
        1 => ConfChangeKind.Remove,
        3 => ConfChangeKind.AddLearner,
        _ => throw new FormatException($"it changes the membership in the unknown way {type}"),
    };
}
