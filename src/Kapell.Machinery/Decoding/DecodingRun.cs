using System.Buffers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery.Schemas;
using ValueKind = Kapell.Machinery.Schemas.ValueKind;

namespace Kapell.Machinery.Decoding;

/// <summary>
/// One decoding: keeps the first type error with Go's words (encoding/json UnmarshalTypeError: innermost struct, path of names without
/// indices) and the strict errors with Kubernetes' (path with indices). Depth is bounded by the reader.
/// </summary>
internal sealed class DecodingRun
{
    private readonly List<string> _names = [];
    private readonly List<string> _strictPath = [];
    private string _struct = "";

    public string? Fault { get; private set; }

    public List<string> StrictErrors { get; } = [];

    /// <summary>Reads the value the reader stands on; null means: leave it out.</summary>
    /// <param name="required">An optional list or map that is empty is left out, as Go's omitempty does.</param>
    public JsonNode? Value(ref Utf8JsonReader reader, ValueSchema schema, bool required)
    {
        if (schema.Kind == ValueKind.Raw)
        {
            return Raw(ref reader);
        }

        if (reader.TokenType == JsonTokenType.Null)
        {
            return null;
        }

        return schema.Kind switch
        {
            ValueKind.Object when reader.TokenType == JsonTokenType.StartObject => Object(ref reader, schema.Type!),
            ValueKind.Map when reader.TokenType == JsonTokenType.StartObject => Map(ref reader, schema, required),
            ValueKind.List when reader.TokenType == JsonTokenType.StartArray => List(ref reader, schema, required),
            ValueKind.Text when reader.TokenType == JsonTokenType.String => JsonValue.Create(reader.GetString()),
            ValueKind.Boolean when reader.TokenType is JsonTokenType.True or JsonTokenType.False => JsonValue.Create(reader.GetBoolean()),
            ValueKind.Int32 or ValueKind.Int64 when reader.TokenType == JsonTokenType.Number => Integer(ref reader, schema),
            ValueKind.Double when reader.TokenType == JsonTokenType.Number => Double(ref reader, schema),
            ValueKind.Bytes when reader.TokenType == JsonTokenType.String => Bytes(ref reader),
            ValueKind.Time or ValueKind.MicroTime => Time(ref reader, schema.Kind),
            ValueKind.Quantity => AmountOf(ref reader),
            ValueKind.IntOrString => NumberOrText(ref reader),
            _ => Wrong(ref reader, schema.GoName),
        };
    }

    private JsonObject Object(ref Utf8JsonReader reader, TypeSchema type)
    {
        JsonObject result = [];
        string outer = _struct;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            string name = reader.GetString()!;
            reader.Read();
            FieldSchema? field = type.Field(name);
            if (field is null)
            {
                Strict("unknown field", name);
                reader.Skip();
                continue;
            }

            if (result.ContainsKey(name))
            {
                Strict("duplicate field", name);
            }

            _struct = type.GoName;
            _names.Add(name);
            _strictPath.Add(_strictPath.Count == 0 ? name : "." + name);
            JsonNode? value = Value(ref reader, field.Value, field.Required);
            _strictPath.RemoveAt(_strictPath.Count - 1);
            _names.RemoveAt(_names.Count - 1);
            _struct = outer;
            if (value is not null)
            {
                result[name] = value;
            }
            else
            {
                result.Remove(name);
            }
        }

        return result;
    }

    private JsonObject? Map(ref Utf8JsonReader reader, ValueSchema schema, bool required)
    {
        JsonObject result = [];
        ValueSchema items = schema.Items!;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            string name = reader.GetString()!;
            reader.Read();
            if (result.ContainsKey(name))
            {
                Strict("duplicate field", name);
            }

            _strictPath.Add(_strictPath.Count == 0 ? name : "." + name);
            result[name] = Value(ref reader, items, required: true) ?? Zero(items);
            _strictPath.RemoveAt(_strictPath.Count - 1);
        }

        return result.Count == 0 && !required ? null : result;
    }

    private JsonArray? List(ref Utf8JsonReader reader, ValueSchema schema, bool required)
    {
        JsonArray result = [];
        ValueSchema items = schema.Items!;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            _strictPath.Add($"[{result.Count}]");
            result.Add(Value(ref reader, items, required: true) ?? Zero(items));
            _strictPath.RemoveAt(_strictPath.Count - 1);
        }

        return result.Count == 0 && !required ? null : result;
    }

    // A null among the items of a list or map is Go's zero value.
    private static JsonNode? Zero(ValueSchema schema) => schema.Kind switch
    {
        ValueKind.Text or ValueKind.Bytes => JsonValue.Create(""),
        ValueKind.Int32 or ValueKind.Int64 or ValueKind.Double or ValueKind.IntOrString => JsonValue.Create(0),
        ValueKind.Boolean => JsonValue.Create(false),
        ValueKind.Quantity => JsonValue.Create("0"),
        ValueKind.Object or ValueKind.Map => new JsonObject(),
        ValueKind.List => new JsonArray(),
        _ => null,
    };

    private JsonNode? Raw(ref Utf8JsonReader reader)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject:
                JsonObject result = [];
                while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
                {
                    string name = reader.GetString()!;
                    reader.Read();
                    if (result.ContainsKey(name))
                    {
                        Strict("duplicate field", name);
                    }

                    result[name] = Raw(ref reader);
                }

                return result;
            case JsonTokenType.StartArray:
                JsonArray list = [];
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                {
                    list.Add(Raw(ref reader));
                }

                return list;
            case JsonTokenType.String:
                return JsonValue.Create(reader.GetString());
            case JsonTokenType.Null:
                return null;
            default:
                return JsonNode.Parse(ref reader);
        }
    }

    private JsonNode? Integer(ref Utf8JsonReader reader, ValueSchema schema)
    {
        if (reader.TryGetInt64(out long number) && (schema.Kind == ValueKind.Int64 || number is >= int.MinValue and <= int.MaxValue))
        {
            return JsonValue.Create(number);
        }

        Refuse("number " + Verbatim(reader), schema.GoName);
        return null;
    }

    private JsonNode? Double(ref Utf8JsonReader reader, ValueSchema schema)
    {
        if (reader.TryGetDouble(out double number) && double.IsFinite(number))
        {
            return JsonValue.Create(number);
        }

        Refuse("number " + Verbatim(reader), schema.GoName);
        return null;
    }

    private JsonNode? Bytes(ref Utf8JsonReader reader)
    {
        string text = reader.GetString()!;
        int bad = Base64.FirstFault(text);
        if (bad >= 0)
        {
            Fault ??= $"illegal base64 data at input byte {bad}";
            return null;
        }

        return JsonValue.Create(text);
    }

    private JsonNode? Time(ref Utf8JsonReader reader, ValueKind kind)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            return Wrong(ref reader, "string");
        }

        string text = reader.GetString()!;
        if (!KubeTime.TryParse(text, out DateTimeOffset time))
        {
            string layout = kind == ValueKind.Time ? "2006-01-02T15:04:05Z07:00" : "2006-01-02T15:04:05.000000Z07:00";
            Fault ??= $"parsing time \"{text}\" as \"{layout}\": cannot parse \"{text}\" as \"2006\"";
            return null;
        }

        return JsonValue.Create(kind == ValueKind.Time ? KubeTime.Format(time) : KubeTime.FormatMicro(time));
    }

    // A quantity may be a bare number; it is stored as text (upstream: Quantity.UnmarshalJSON).
    private JsonNode? AmountOf(ref Utf8JsonReader reader)
    {
        string text = reader.TokenType switch
        {
            JsonTokenType.String => reader.GetString()!,
            JsonTokenType.Number => Verbatim(reader),
            _ => "",
        };
        reader.Skip();
        if (!Quantity.TryParse(text.Trim(), out Quantity quantity, out string error))
        {
            Fault ??= error;
            return null;
        }

        return JsonValue.Create(quantity.ToString());
    }

    private JsonNode? NumberOrText(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.String)
        {
            return JsonValue.Create(reader.GetString());
        }

        if (reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out int number))
        {
            return JsonValue.Create(number);
        }

        return reader.TokenType == JsonTokenType.Number ? Wrong(ref reader, "int32", " " + Verbatim(reader)) : Wrong(ref reader, "int32");
    }

    private JsonNode? Wrong(ref Utf8JsonReader reader, string goType, string more = "")
    {
        string value = reader.TokenType switch
        {
            JsonTokenType.String => "string",
            JsonTokenType.Number => "number",
            JsonTokenType.True or JsonTokenType.False => "bool",
            JsonTokenType.StartArray => "array",
            _ => "object",
        };
        Refuse(value + more, goType);
        reader.Skip();
        return null;
    }

    private void Refuse(string value, string goType) => Fault ??= _names.Count == 0
        ? $"json: cannot unmarshal {value} into Go value of type {goType}"
        : $"json: cannot unmarshal {value} into Go struct field {_struct}.{string.Join('.', _names)} of type {goType}";

    private void Strict(string what, string name)
    {
        if (StrictErrors.Count < ObjectDecoder.StrictErrorsMax)
        {
            string path = string.Concat(_strictPath);
            string text = $"{what} \"{(path.Length == 0 ? name : path + "." + name)}\"";
            if (!StrictErrors.Contains(text))
            {
                StrictErrors.Add(text);
            }
        }
    }

    private static string Verbatim(in Utf8JsonReader reader) =>
        Encoding.UTF8.GetString(reader.HasValueSequence ? reader.ValueSequence.ToArray() : reader.ValueSpan);
}
