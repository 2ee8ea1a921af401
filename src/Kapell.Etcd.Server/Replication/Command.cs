using System.Buffers.Binary;
using Google.Protobuf;
using Kapell.Etcd.Protocol;

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
}

/// <summary>
/// An entry's data: the number of the request (8 bytes, little-endian: who proposed it finds its waiter by it), the kind (1 byte),
/// the request as it came.
/// </summary>
public readonly record struct Command(ulong Id, CommandKind Kind, IMessage Request)
{
    private const int PrefixBytes = 9;

    public byte[] Encode()
    {
        byte[] data = new byte[PrefixBytes + Request.CalculateSize()];
        BinaryPrimitives.WriteUInt64LittleEndian(data, Id);
        data[8] = (byte)Kind;
        Request.WriteTo(data.AsSpan(PrefixBytes));
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

        CommandKind kind = (CommandKind)data[8];
        ReadOnlySpan<byte> body = data[PrefixBytes..];
        IMessage request = kind switch
        {
            CommandKind.Put => PutRequest.Parser.ParseFrom(body),
            CommandKind.DeleteRange => DeleteRangeRequest.Parser.ParseFrom(body),
            CommandKind.Txn => TxnRequest.Parser.ParseFrom(body),
            CommandKind.Compact => CompactionRequest.Parser.ParseFrom(body),
            CommandKind.LeaseGrant => LeaseGrantRequest.Parser.ParseFrom(body),
            CommandKind.LeaseRevoke => LeaseRevokeRequest.Parser.ParseFrom(body),
            CommandKind.Alarm => AlarmRequest.Parser.ParseFrom(body),
            CommandKind.MemberAttributes or CommandKind.MemberUpdate => Member.Parser.ParseFrom(body),
            _ => throw new InvalidDataException($"log entry holds the unknown command {data[8]}: written by a newer version?"),
        };
        return new Command(IdOf(data), kind, request);
    }
}
