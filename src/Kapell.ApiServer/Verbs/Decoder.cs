using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.Machinery;
using Kapell.Machinery.Decoding;
using Kapell.Machinery.Schemas;

namespace Kapell.ApiServer.Verbs;

/// <summary>Bodies to objects of an expected kind, as strict as the request wants.</summary>
internal sealed class Decoder(SchemaSet schemas)
{
    /// <summary>The schema of a kind or type name; null when the program has none (then anything goes through).</summary>
    public TypeSchema? SchemaOf(string name) => schemas.Find(name);

    public TypeSchema? SchemaOf(GroupVersionKind kind) => schemas.Find(kind);

    /// <summary>Decodes a whole object.</summary>
    /// <exception cref="StatusException">400 in upstream's words.</exception>
    public JsonObject Object(byte[] json, GroupVersionKind expected, TypeSchema? schema, VerbRequest request)
    {
        CheckKind(json, expected);
        if (schema is null)
        {
            return Bodies.ParseObject(json);
        }

        ObjectDecoder.Decode(json, schema, out JsonObject obj, out List<string> strict);
        if (strict.Count > 0 && request.Validation == FieldValidation.Strict)
        {
            throw ObjectDecoder.StrictFailure(obj, schema, strict);
        }

        if (request.Validation == FieldValidation.Warn)
        {
            request.Warnings.AddRange(strict.Except(request.Warnings));
        }

        return obj;
    }

    /// <summary>Checks what a patch has made of an object.</summary>
    /// <exception cref="StatusException">422 about the field <c>patch</c>, as upstream.</exception>
    public JsonObject Patched(JsonObject raw, TypeSchema? schema, VerbRequest request)
    {
        if (schema is null)
        {
            return raw;
        }

        JsonObject obj;
        List<string> strict;
        try
        {
            ObjectDecoder.Decode(raw, schema, out obj, out strict);
        }
        catch (StatusException e) when (e.Status.Code == 400)
        {
            throw InvalidPatch(raw, e.Message);
        }

        if (strict.Count > 0 && request.Validation == FieldValidation.Strict)
        {
            throw InvalidPatch(raw, ObjectDecoder.StrictText(strict));
        }

        if (request.Validation == FieldValidation.Warn)
        {
            request.Warnings.AddRange(strict.Except(request.Warnings));
        }

        return obj;
    }

    private static StatusException InvalidPatch(JsonObject raw, string why) => new(Status.Invalid(
        new GroupKind("", ""), "", [FieldError.Invalid(FieldPath.New("patch"), System.Text.Encoding.UTF8.GetString(JsonBytes.Of(raw)), why)]));

    /// <summary>The body must say it is what the URL stands for, or say nothing.</summary>
    private static void CheckKind(byte[] json, GroupVersionKind expected)
    {
        (string apiVersion, string kind) = ReadKind(json);
        if (kind.Length > 0 && kind != expected.Kind)
        {
            string version = apiVersion[(apiVersion.IndexOf('/', StringComparison.Ordinal) + 1)..];
            throw new StatusException(Status.BadRequest($"{kind} in version \"{version}\" cannot be handled as a {expected.Kind}"));
        }

        if (apiVersion.Length > 0 && apiVersion != expected.ApiVersion)
        {
            throw new StatusException(Status.BadRequest(
                $"the API version in the data ({apiVersion}) does not match the expected API version ({expected.ApiVersion})"));
        }
    }

    private static (string ApiVersion, string Kind) ReadKind(byte[] json)
    {
        string apiVersion = "";
        string kind = "";
        try
        {
            Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = ObjectDecoder.DepthMax });
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            {
                return ("", "");
            }

            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isVersion = reader.ValueTextEquals("apiVersion"u8);
                bool isKind = reader.ValueTextEquals("kind"u8);
                reader.Read();
                if ((isVersion || isKind) && reader.TokenType == JsonTokenType.String)
                {
                    (apiVersion, kind) = isVersion ? (reader.GetString()!, kind) : (apiVersion, reader.GetString()!);
                }
                else
                {
                    reader.Skip();
                }
            }
        }
        catch (JsonException)
        {
            // The real decoder says what is wrong, in its words.
            return ("", "");
        }

        return (apiVersion, kind);
    }
}
