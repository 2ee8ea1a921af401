using System.Globalization;
using System.Text.Json;
using Kapell.Machinery.Decoding;
using Kapell.Machinery.Schemas;

namespace Kapell.Machinery.Protobuf;

/// <summary>Writes the fields of messages as JSON. One run serves one object.</summary>
internal sealed class MessageToJson(Utf8JsonWriter json)
{
    // Seconds since 1970 of the years 1 to 9999, which RFC 3339 can say.
    private const long SecondsMin = -62135596800;
    private const long SecondsMax = 253402300799;

    /// <summary>One value on the wire: a number, or a stretch of bytes.</summary>
    private readonly record struct Occurrence(WireType Type, ulong Number, ReadOnlyMemory<byte> Bytes);

    public void Fields(ReadOnlyMemory<byte> message, TypeSchema schema, int depth)
    {
        CheckDepth(depth);
        Dictionary<FieldSchema, List<Occurrence>> found = [];
        Collect(message, schema.Wire, found, depth);
        foreach (FieldSchema field in schema.Fields)
        {
            if (found.TryGetValue(field, out List<Occurrence>? values))
            {
                Field(field, values, depth);
            }
        }
    }

    // Fields may come in any order and more than once; the groups' fields count as the message's own.
    private static void Collect(ReadOnlyMemory<byte> message, WireNode node, Dictionary<FieldSchema, List<Occurrence>> found, int depth)
    {
        CheckDepth(depth);
        WireReader reader = new(message.Span);
        while (!reader.IsAtEnd)
        {
            (int number, WireType type) = reader.Tag();
            WireNode? at = node.Find(number);
            if (at is null)
            {
                reader.Skip(type);
                continue;
            }

            Occurrence value = type switch
            {
                WireType.Varint => new Occurrence(type, reader.Varint(), default),
                WireType.Fixed64 => new Occurrence(type, reader.Fixed64(), default),
                WireType.Fixed32 => new Occurrence(type, reader.Fixed32(), default),
                _ => new Occurrence(type, 0, Slice(message, reader.Bytes())),
            };
            if (at.Field is not { } field)
            {
                Expect(value, WireType.Bytes, "a group of fields");
                Collect(value.Bytes, at, found, depth + 1);
                continue;
            }

            if (!found.TryGetValue(field, out List<Occurrence>? values))
            {
                found[field] = values = [];
            }

            values.Add(value);
        }
    }

    private static ReadOnlyMemory<byte> Slice(ReadOnlyMemory<byte> message, (int Start, int End) place) => message[place.Start..place.End];

    private void Field(FieldSchema field, List<Occurrence> values, int depth)
    {
        ValueSchema value = field.Value;
        switch (value.Kind)
        {
            case ValueKind.List:
                json.WriteStartArray(field.Name);
                values.ForEach(v => Items(v, value.Items!, field.Name, depth));
                json.WriteEndArray();
                return;
            case ValueKind.Map:
                Map(field, values, depth);
                return;
            default:
                Occurrence one = IsMessage(value.Kind) ? Joined(values) : values[^1];
                if (Shows(field.Wire!, value.Kind, one))
                {
                    json.WritePropertyName(field.Name);
                    One(one, value, field.Name, depth);
                }

                return;
        }
    }

    /// <summary>Whether the value would stand in Go's JSON: a zero that is not held by pointer is left out (omitempty).</summary>
    private static bool Shows(WirePlace place, ValueKind kind, Occurrence value) => kind switch
    {
        ValueKind.Object or ValueKind.Quantity or ValueKind.IntOrString => true,
        ValueKind.Time or ValueKind.MicroTime or ValueKind.Raw => value.Bytes.Length > 0,
        _ => place.ByPointer || place.ZeroShown || value.Number != 0 || value.Bytes.Length > 0,
    };

    private static bool IsMessage(ValueKind kind) => kind
        is ValueKind.Object or ValueKind.Time or ValueKind.MicroTime or ValueKind.Quantity or ValueKind.IntOrString or ValueKind.Raw;

    // A message that comes in pieces is their sum: the bytes one after the other.
    private static Occurrence Joined(List<Occurrence> values)
    {
        if (values.Count == 1)
        {
            return values[0];
        }

        values.ForEach(v => Expect(v, WireType.Bytes, "a message"));
        return new Occurrence(WireType.Bytes, 0, values.SelectMany(v => v.Bytes.ToArray()).ToArray());
    }

    // Numbers may come packed, many in one stretch of bytes.
    private void Items(Occurrence value, ValueSchema items, string name, int depth)
    {
        if (value.Type == WireType.Bytes && items.Kind is ValueKind.Int32 or ValueKind.Int64 or ValueKind.Boolean)
        {
            WireReader reader = new(value.Bytes.Span);
            while (!reader.IsAtEnd)
            {
                One(new Occurrence(WireType.Varint, reader.Varint(), default), items, name, depth);
            }
        }
        else
        {
            One(value, items, name, depth);
        }
    }

    private void Map(FieldSchema field, List<Occurrence> values, int depth)
    {
        SortedDictionary<string, Occurrence> entries = new(StringComparer.Ordinal);
        foreach (Occurrence value in values)
        {
            Expect(value, WireType.Bytes, field.Name);
            string key = "";
            Occurrence item = new(WireType.Bytes, 0, default);
            WireReader reader = new(value.Bytes.Span);
            while (!reader.IsAtEnd)
            {
                (int number, WireType type) = reader.Tag();
                if (type != WireType.Bytes || number > 2)
                {
                    reader.Skip(type);
                    continue;
                }

                ReadOnlyMemory<byte> bytes = Slice(value.Bytes, reader.Bytes());
                if (number == 1)
                {
                    key = System.Text.Encoding.UTF8.GetString(ProtobufDecoder.Utf8(bytes.Span));
                }
                else
                {
                    item = new Occurrence(WireType.Bytes, 0, bytes);
                }
            }

            entries[key] = item;
        }

        json.WriteStartObject(field.Name);
        foreach ((string key, Occurrence item) in entries)
        {
            json.WritePropertyName(key);
            One(item, field.Value.Items!, field.Name, depth);
        }

        json.WriteEndObject();
    }

    private void One(Occurrence value, ValueSchema schema, string name, int depth)
    {
        Expect(value, TypeOf(schema.Kind), name);
        switch (schema.Kind)
        {
            case ValueKind.Text: json.WriteStringValue(ProtobufDecoder.Utf8(value.Bytes.Span)); break;
            case ValueKind.Int32: json.WriteNumberValue((int)(uint)value.Number); break;
            case ValueKind.Int64: json.WriteNumberValue((long)value.Number); break;
            case ValueKind.Boolean: json.WriteBooleanValue(value.Number != 0); break;
            case ValueKind.Double: json.WriteNumberValue(BitConverter.UInt64BitsToDouble(value.Number)); break;
            case ValueKind.Bytes: json.WriteBase64StringValue(value.Bytes.Span); break;
            case ValueKind.Time: json.WriteStringValue(Time(value.Bytes, "yyyy-MM-dd'T'HH:mm:ss'Z'")); break;
            case ValueKind.MicroTime: json.WriteStringValue(Time(value.Bytes, "yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'")); break;
            case ValueKind.Quantity: json.WriteStringValue(TextField(value.Bytes, 1) is { Length: > 0 } text ? text : "0"); break;
            case ValueKind.IntOrString: IntOrString(value.Bytes); break;
            case ValueKind.Raw: Raw(value.Bytes); break;
            case ValueKind.List: WrappedList(value.Bytes, schema.Items!, name, depth); break;
            case ValueKind.Object:
                json.WriteStartObject();
                Fields(value.Bytes, schema.Type!, depth + 1);
                json.WriteEndObject();
                break;
            default: throw new WireFormatException($"{name}: {schema} has no protobuf form");
        }
    }

    // A list inside a map lies in a message of its own (authentication's ExtraValue: items = 1).
    private void WrappedList(ReadOnlyMemory<byte> message, ValueSchema items, string name, int depth)
    {
        CheckDepth(depth);
        json.WriteStartArray();
        WireReader reader = new(message.Span);
        while (!reader.IsAtEnd)
        {
            (int number, WireType type) = reader.Tag();
            if (number == 1 && type == WireType.Bytes)
            {
                One(new Occurrence(type, 0, Slice(message, reader.Bytes())), items, name, depth + 1);
            }
            else
            {
                reader.Skip(type);
            }
        }

        json.WriteEndArray();
    }

    private static string Time(ReadOnlyMemory<byte> message, string format)
    {
        (long seconds, long nanos, _) = Numbers(message);
        if (seconds is < SecondsMin or > SecondsMax || nanos is < 0 or > 999_999_999)
        {
            throw new WireFormatException($"a time of {seconds} s and {nanos} ns is out of range");
        }

        return DateTimeOffset.FromUnixTimeSeconds(seconds).AddTicks(nanos / 100).ToString(format, CultureInfo.InvariantCulture);
    }

    private void IntOrString(ReadOnlyMemory<byte> message)
    {
        (long type, long number, ReadOnlyMemory<byte> text) = Numbers(message);
        if (type == 1)
        {
            json.WriteStringValue(ProtobufDecoder.Utf8(text.Span));
        }
        else
        {
            json.WriteNumberValue((int)number);
        }
    }

    // Fields 1 and 2 as numbers, 3 as bytes.
    private static (long First, long Second, ReadOnlyMemory<byte> Third) Numbers(ReadOnlyMemory<byte> message)
    {
        long first = 0;
        long second = 0;
        ReadOnlyMemory<byte> third = default;
        WireReader reader = new(message.Span);
        while (!reader.IsAtEnd)
        {
            (int number, WireType type) = reader.Tag();
            switch (number, type)
            {
                case (1, WireType.Varint): first = (long)reader.Varint(); break;
                case (2, WireType.Varint): second = (long)reader.Varint(); break;
                case (3, WireType.Bytes): third = Slice(message, reader.Bytes()); break;
                default: reader.Skip(type); break;
            }
        }

        return (first, second, third);
    }

    private static ReadOnlyMemory<byte> BytesField(ReadOnlyMemory<byte> message, int wanted)
    {
        ReadOnlyMemory<byte> found = default;
        WireReader reader = new(message.Span);
        while (!reader.IsAtEnd)
        {
            (int number, WireType type) = reader.Tag();
            if (number == wanted && type == WireType.Bytes)
            {
                found = Slice(message, reader.Bytes());
            }
            else
            {
                reader.Skip(type);
            }
        }

        return found;
    }

    private static string TextField(ReadOnlyMemory<byte> message, int wanted) =>
        System.Text.Encoding.UTF8.GetString(ProtobufDecoder.Utf8(BytesField(message, wanted).Span));

    // RawExtension, FieldsV1 and JSON carry JSON text in field 1.
    private void Raw(ReadOnlyMemory<byte> message)
    {
        ReadOnlyMemory<byte> text = BytesField(message, 1);
        if (text.Length == 0)
        {
            json.WriteNullValue();
            return;
        }

        try
        {
            Utf8JsonReader reader = new(text.Span, new JsonReaderOptions { MaxDepth = ObjectDecoder.DepthMax });
            while (reader.Read())
            {
            }

            json.WriteRawValue(text.Span, skipInputValidation: true);
        }
        catch (JsonException e)
        {
            throw new WireFormatException("a raw value is not JSON: " + e.Message);
        }
    }

    private static WireType TypeOf(ValueKind kind) => kind switch
    {
        ValueKind.Int32 or ValueKind.Int64 or ValueKind.Boolean => WireType.Varint,
        ValueKind.Double => WireType.Fixed64,
        _ => WireType.Bytes,
    };

    private static void Expect(Occurrence value, WireType wanted, string name)
    {
        if (value.Type != wanted)
        {
            throw new WireFormatException($"proto: wrong wireType = {(int)value.Type} for field {name}");
        }
    }

    private static void CheckDepth(int depth)
    {
        if (depth > ObjectDecoder.DepthMax)
        {
            throw new WireFormatException($"the message is nested deeper than {ObjectDecoder.DepthMax}");
        }
    }
}
