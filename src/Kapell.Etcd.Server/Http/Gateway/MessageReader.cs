using System.Collections;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>
/// A message from one value of JSON, with upstream's rules and words: fields by either of their names, unknown ones passed over, none
/// twice; null is a field not given; numbers with or without quotes, in any way to write a whole one; bytes in base64 of either alphabet,
/// padded or not; an enumeration's value by name or number, its unknown names passed over.
/// Source: google.golang.org/protobuf encoding/protojson decode.go, as grpc-gateway sets it.
/// </summary>
internal ref struct MessageReader
{
    // Transactions are the only messages that hold their own kind; gRPC takes as many in one another.
    private const int MessagesMax = 100;

    private readonly ReadOnlySpan<byte> _text;
    private Utf8JsonReader _json;
    private int _messages;

    private MessageReader(ReadOnlySpan<byte> text)
    {
        _text = text;
        _json = new Utf8JsonReader(text, new JsonReaderOptions { MaxDepth = GatewayJson.DepthMax });
    }

    private readonly int At => (int)_json.TokenStartIndex;

    /// <summary>As it was written.</summary>
    private readonly ReadOnlySpan<byte> Token =>
        _text.Slice(At, _json.ValueSpan.Length + (_json.TokenType is JsonTokenType.String or JsonTokenType.PropertyName ? 2 : 0));

    private readonly string Raw => Encoding.UTF8.GetString(Token);

    /// <exception cref="FormatException">It is no such message.</exception>
    /// <exception cref="JsonException">It is no JSON.</exception>
    public static IMessage Read(ReadOnlySpan<byte> text, MessageDescriptor type)
    {
        MessageReader reader = new(text);
        reader._json.Read();
        IMessage message = reader.Message(type);
        reader._json.Read(); // Nothing may follow.
        return message;
    }

    private IMessage Message(MessageDescriptor type)
    {
        if (++_messages > MessagesMax)
        {
            throw new FormatException("proto: exceeded max recursion depth");
        }

        if (_json.TokenType != JsonTokenType.StartObject)
        {
            throw SyntaxFault(At, $"unexpected token {Raw}");
        }

        IMessage message = type.Parser.ParseFrom(ByteString.Empty);
        HashSet<FieldDescriptor> fields = [];
        HashSet<OneofDescriptor> choices = [];
        while (_json.Read() && _json.TokenType != JsonTokenType.EndObject)
        {
            int at = At;
            ReadOnlySpan<byte> name = Token;
            FieldDescriptor? field = FieldOf(type, Text());
            if (field is not null && !fields.Add(field))
            {
                throw Fault(at, $"duplicate field {Encoding.UTF8.GetString(name)}");
            }

            _json.Read();
            if (field is null)
            {
                _json.Skip();
            }
            else if (_json.TokenType == JsonTokenType.Null)
            {
                continue;
            }
            else if (field.IsRepeated)
            {
                List(field, (IList)field.Accessor.GetValue(message));
            }
            else if (field.RealContainingOneof is { } choice && !choices.Add(choice))
            {
                throw Fault(at, $"error parsing {Encoding.UTF8.GetString(name)}, oneof {choice.FullName} is already set");
            }
            else if (Value(field) is { } value)
            {
                field.Accessor.SetValue(message, value);
            }
        }

        _messages--;
        return message;
    }

    private void List(FieldDescriptor field, IList values)
    {
        if (_json.TokenType != JsonTokenType.StartArray)
        {
            throw SyntaxFault(At, $"unexpected token {Raw}");
        }

        while (_json.Read() && _json.TokenType != JsonTokenType.EndArray)
        {
            if (Value(field) is { } value)
            {
                values.Add(value);
            }
        }
    }

    /// <summary>Null: to be passed over.</summary>
    private object? Value(FieldDescriptor field)
    {
        JsonTokenType token = _json.TokenType;
        switch (field.FieldType)
        {
            case FieldType.Message:
                return Message(field.MessageType);
            case FieldType.Bool when token is JsonTokenType.True or JsonTokenType.False:
                return token == JsonTokenType.True;
            case FieldType.String when token == JsonTokenType.String:
                return Text();
            case FieldType.Bytes when token == JsonTokenType.String && Base64Text.TryDecode(Text(), out byte[] bytes):
                return UnsafeByteOperations.UnsafeWrap(bytes);
            case FieldType.Enum when token == JsonTokenType.String:
                return field.EnumType.FindValueByName(Text())?.Number;
            case FieldType.Enum when token == JsonTokenType.Number && Whole(int.MinValue, int.MaxValue) is { } number:
                return (int)number;
            case FieldType.Int32 when Whole(int.MinValue, int.MaxValue) is { } number:
                return (int)number;
            case FieldType.UInt32 when Whole(0, uint.MaxValue) is { } number:
                return (uint)number;
            case FieldType.Int64 when Whole(long.MinValue, long.MaxValue) is { } number:
                return (long)number;
            case FieldType.UInt64 when Whole(0, ulong.MaxValue) is { } number:
                return (ulong)number;
            default:
                throw Fault(At, $"invalid value for {field.FieldType.ToString().ToLowerInvariant()} field {field.JsonName}: {Raw}");
        }
    }

    private readonly Int128? Whole(Int128 least, Int128 most) =>
        _json.TokenType is JsonTokenType.Number or JsonTokenType.String && WholeNumber.TryParse(_json.ValueSpan, out Int128 number)
        && number >= least && number <= most
            ? number
            : null;

    private readonly string Text()
    {
        try
        {
            return _json.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw SyntaxFault(At, Utf8.IsValid(_json.ValueSpan) ? $"invalid escape code in string {Raw}" : "invalid UTF-8 in string");
        }
    }

    private static FieldDescriptor? FieldOf(MessageDescriptor type, string name) =>
        type.Fields.InDeclarationOrder().FirstOrDefault(f => f.JsonName == name) ?? type.FindFieldByName(name);

    private readonly FormatException Fault(int at, string what) => new($"proto: ({Position(at)}): {what}");

    private readonly FormatException SyntaxFault(int at, string what) => new($"proto: syntax error ({Position(at)}): {what}");

    /// <summary>Counted from one; a column is a code point.</summary>
    private readonly string Position(int at)
    {
        ReadOnlySpan<byte> before = _text[..at];
        ReadOnlySpan<byte> line = before[(before.LastIndexOf((byte)'\n') + 1)..];
        return $"line {before.Count((byte)'\n') + 1}:{Encoding.UTF8.GetString(line).EnumerateRunes().Count() + 1}";
    }
}
