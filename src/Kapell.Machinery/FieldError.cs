using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Kapell.Machinery;

/// <summary>The kind of a field error: the <c>reason</c> of a Status cause (upstream: field.ErrorType).</summary>
public enum FieldErrorType
{
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    TypeInvalid,
    Internal,
}

/// <summary>
/// One fault of one field, with upstream's words (apimachinery field.Error): <c>spec.replicas: Invalid value: -1: must be greater
/// than or equal to 0</c>.
/// </summary>
public sealed record FieldError(FieldErrorType Type, FieldPath Path, string? BadValueText, string Detail)
{
    private static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static FieldError Required(FieldPath path, string detail) => new(FieldErrorType.Required, path, null, detail);

    public static FieldError Invalid(FieldPath path, object? value, string detail) => new(FieldErrorType.Invalid, path, Show(value), detail);

    public static FieldError TypeInvalid(FieldPath path, object? value, string detail) =>
        new(FieldErrorType.TypeInvalid, path, Show(value), detail);

    public static FieldError Duplicate(FieldPath path, object? value) => new(FieldErrorType.Duplicate, path, Show(value), "");

    public static FieldError NotFound(FieldPath path, object? value) => new(FieldErrorType.NotFound, path, Show(value), "");

    public static FieldError Forbidden(FieldPath path, string detail) => new(FieldErrorType.Forbidden, path, null, detail);

    public static FieldError TooLong(FieldPath path, int bytesMax) =>
        new(FieldErrorType.TooLong, path, null, bytesMax >= 0 ? $"may not be more than {bytesMax} bytes" : "value is too long");

    public static FieldError TooMany(FieldPath path, int actual, int itemsMax) =>
        new(FieldErrorType.TooMany, path, actual.ToString(), itemsMax == 1 ? "must have at most 1 item" : $"must have at most {itemsMax} items");

    public static FieldError NotSupported(FieldPath path, object? value, IEnumerable<string> supported)
    {
        string[] quoted = [.. supported.Select(s => "\"" + s + "\"")];
        return new(FieldErrorType.NotSupported, path, Show(value), quoted.Length == 0 ? "" : "supported values: " + string.Join(", ", quoted));
    }

    public static FieldError Internal(FieldPath path, string detail) => new(FieldErrorType.Internal, path, null, detail);

    /// <summary>The CamelCase reason of a Status cause.</summary>
    public string Reason => Type switch
    {
        FieldErrorType.NotFound => "FieldValueNotFound",
        FieldErrorType.Required => "FieldValueRequired",
        FieldErrorType.Duplicate => "FieldValueDuplicate",
        FieldErrorType.Invalid => "FieldValueInvalid",
        FieldErrorType.NotSupported => "FieldValueNotSupported",
        FieldErrorType.Forbidden => "FieldValueForbidden",
        FieldErrorType.TooLong => "FieldValueTooLong",
        FieldErrorType.TooMany => "FieldValueTooMany",
        FieldErrorType.TypeInvalid => "FieldValueTypeInvalid",
        _ => "InternalError",
    };

    /// <summary>The message without the path, as a Status cause carries it.</summary>
    public string Body
    {
        get
        {
            string kind = Type switch
            {
                FieldErrorType.NotFound => "Not found",
                FieldErrorType.Required => "Required value",
                FieldErrorType.Duplicate => "Duplicate value",
                FieldErrorType.Invalid or FieldErrorType.TypeInvalid => "Invalid value",
                FieldErrorType.NotSupported => "Unsupported value",
                FieldErrorType.Forbidden => "Forbidden",
                FieldErrorType.TooLong => "Too long",
                FieldErrorType.TooMany => "Too many",
                _ => "Internal error",
            };
            string text = BadValueText is null ? kind : kind + ": " + BadValueText;
            return Detail.Length == 0 ? text : text + ": " + Detail;
        }
    }

    public override string ToString() => Path + ": " + Body;

    private static string Show(object? value) => value switch
    {
        null => "null",
        string s => JsonSerializer.Serialize(s, FieldErrorJson.Relaxed.String),
        bool b => b ? "true" : "false",
        JsonNode n => n.ToJsonString(Plain),
        IFormattable f => f.ToString(null, System.Globalization.CultureInfo.InvariantCulture),
        _ => JsonSerializer.Serialize(value.ToString() ?? "", FieldErrorJson.Relaxed.String),
    };
}

[System.Text.Json.Serialization.JsonSerializable(typeof(string))]
internal sealed partial class FieldErrorJson : System.Text.Json.Serialization.JsonSerializerContext
{
    public static FieldErrorJson Relaxed { get; } = new(new JsonSerializerOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
}
