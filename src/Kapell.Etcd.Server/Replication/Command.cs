using System.Buffers.Binary;
using System.Text;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Replication;

/// <summary>What an entry of the log asks for. The numbers stand on disk.</summary>
public enum CommandKind : byte
{
    Put = 1,
    DeleteRange = 2,
    Txn = 3,
    Compact = 4,
    LeaseGrant = 5,
    LeaseRevoke = 6,
    Alarm = 7,

    /// <summary>A member says its name and client addresses: a <see cref="Member"/> message.</summary>
    MemberAttributes = 8,

    /// <summary>Other peer addresses of a member: a <see cref="Member"/> message.</summary>
    MemberUpdate = 9,
    AuthEnable = 10,
    AuthDisable = 11,
    UserAdd = 12,
    UserDelete = 13,
    UserChangePassword = 14,
    UserGrantRole = 15,
    UserRevokeRole = 16,
    RoleAdd = 17,
    RoleDelete = 18,
    RoleGrantPermission = 19,
    RoleRevokePermission = 20,

    /// <summary>A <see cref="Protocol.TokenGrant"/> message.</summary>
    TokenGrant = 21,

    /// <summary>How much time is left of leases, for the next leader.</summary>
    LeaseCheckpoint = 22,
}

/// <summary>
/// An entry's data: the number of the request (8 bytes, little-endian: who proposed it finds its waiter by it), the kind (1 byte; its
/// highest bit says that a caller follows: revision of the users (8 bytes), bytes of the name (4), name), the request as it came.
/// </summary>
public readonly record struct Command(ulong Id, CommandKind Kind, IMessage Request)
{
    private const int PrefixBytes = 9;
    private const int CallerBytes = 12;
    private const byte CallerFlag = 0x80;

    /// <summary>Whose rights it is done with; nobody's where there are no users.</summary>
    public Caller Caller { get; init; }

    public byte[] Encode()
    {
        int nameBytes = Caller.IsNobody ? 0 : Encoding.UTF8.GetByteCount(Caller.Name!);
        int before = PrefixBytes + (Caller.IsNobody ? 0 : CallerBytes + nameBytes);
        byte[] data = new byte[before + Request.CalculateSize()];
        BinaryPrimitives.WriteUInt64LittleEndian(data, Id);
        data[8] = (byte)Kind;
        if (!Caller.IsNobody)
        {
            data[8] |= CallerFlag;
            BinaryPrimitives.WriteUInt64LittleEndian(data.AsSpan(PrefixBytes), Caller.Revision);
            BinaryPrimitives.WriteInt32LittleEndian(data.AsSpan(PrefixBytes + 8), nameBytes);
            Encoding.UTF8.GetBytes(Caller.Name!, data.AsSpan(PrefixBytes + CallerBytes));
        }

        Request.WriteTo(data.AsSpan(before));
        return data;
    }

    public static ulong IdOf(ReadOnlySpan<byte> data) => BinaryPrimitives.ReadUInt64LittleEndian(data);

    /// <exception cref="InvalidDataException">The data is no command of this version.</exception>
    public static Command Decode(ReadOnlySpan<byte> data)
    {
        if (data.Length < PrefixBytes)
        {
            throw new InvalidDataException($"log entry of {data.Length} bytes is no command");
        }

        CommandKind kind = (CommandKind)(data[8] & ~CallerFlag);
        ReadOnlySpan<byte> body = data[PrefixBytes..];
        Caller caller = (data[8] & CallerFlag) == 0 ? default : ReadCaller(ref body);
        try
        {
            return new Command(IdOf(data), kind, Parse(kind, body)) { Caller = caller };
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidDataException($"log entry holds a {kind} that cannot be read: {e.Message}", e);
        }
    }

    private static IMessage Parse(CommandKind kind, ReadOnlySpan<byte> body) =>
        kind switch
        {
            CommandKind.Put => PutRequest.Parser.ParseFrom(body),
            CommandKind.DeleteRange => DeleteRangeRequest.Parser.ParseFrom(body),
            CommandKind.Txn => TxnRequest.Parser.ParseFrom(body),
            CommandKind.Compact => CompactionRequest.Parser.ParseFrom(body),
            CommandKind.LeaseGrant => LeaseGrantRequest.Parser.ParseFrom(body),
            CommandKind.LeaseRevoke => LeaseRevokeRequest.Parser.ParseFrom(body),
            CommandKind.Alarm => AlarmRequest.Parser.ParseFrom(body),
            CommandKind.MemberAttributes or CommandKind.MemberUpdate => Member.Parser.ParseFrom(body),
            CommandKind.AuthEnable => AuthEnableRequest.Parser.ParseFrom(body),
            CommandKind.AuthDisable => AuthDisableRequest.Parser.ParseFrom(body),
            CommandKind.UserAdd => AuthUserAddRequest.Parser.ParseFrom(body),
            CommandKind.UserDelete => AuthUserDeleteRequest.Parser.ParseFrom(body),
            CommandKind.UserChangePassword => AuthUserChangePasswordRequest.Parser.ParseFrom(body),
            CommandKind.UserGrantRole => AuthUserGrantRoleRequest.Parser.ParseFrom(body),
            CommandKind.UserRevokeRole => AuthUserRevokeRoleRequest.Parser.ParseFrom(body),
            CommandKind.RoleAdd => AuthRoleAddRequest.Parser.ParseFrom(body),
            CommandKind.RoleDelete => AuthRoleDeleteRequest.Parser.ParseFrom(body),
            CommandKind.RoleGrantPermission => AuthRoleGrantPermissionRequest.Parser.ParseFrom(body),
            CommandKind.RoleRevokePermission => AuthRoleRevokePermissionRequest.Parser.ParseFrom(body),
            CommandKind.LeaseCheckpoint => LeaseCheckpointRequest.Parser.ParseFrom(body),
            CommandKind.TokenGrant => TokenGrant.Parser.ParseFrom(body),
            _ => throw new InvalidDataException($"log entry holds the unknown command {(byte)kind}: written by a newer version?"),
        };

    private static Caller ReadCaller(ref ReadOnlySpan<byte> body)
    {
        int nameBytes = body.Length < CallerBytes ? -1 : BinaryPrimitives.ReadInt32LittleEndian(body[8..]);
        if (nameBytes < 0 || nameBytes > body.Length - CallerBytes)
        {
            throw new InvalidDataException("log entry ends in the middle of its caller");
        }

        Caller caller = new(
            Encoding.UTF8.GetString(body.Slice(CallerBytes, nameBytes)), BinaryPrimitives.ReadUInt64LittleEndian(body));
        body = body[(CallerBytes + nameBytes)..];
        return caller;
    }
}
