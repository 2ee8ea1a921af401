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
    private const string UnknownField = "unknown field \"";

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

    /// <summary>Decodes an apply's configuration: who applies must know the fields, so that an unknown one fails whatever is asked for.</summary>
    /// <exception cref="StatusException">400; 500 for unknown fields, as upstream.</exception>
    public JsonObject Applied(byte[] json, GroupVersionKind expected, TypeSchema schema, VerbRequest request)
    {
        CheckKind(json, expected);
        ObjectDecoder.Decode(json, schema, out JsonObject obj, out List<string> strict);
        string[] unknown =
        [
            .. strict.Where(static s => s.StartsWith(UnknownField, StringComparison.Ordinal))
                .Select(static s => $".{s[UnknownField.Length..].TrimEnd('"')}: field not declared in schema"),
        ];
        if (unknown.Length == 0)
        {
            return Object(json, expected, schema, request);
        }

        string all = unknown.Length == 1 ? unknown[0] : "errors:\n" + string.Join('\n', unknown.Select(static u => "  " + u));
        throw new StatusException(new Status
        {
            Code = 500, Reason = "",
            Message = $"failed to create typed patch object ({request.Namespace}/{request.Name}; {expected.ApiVersion}, Kind={expected.Kind}): {all}",
        });
    }

    /// <summary>Checks what a patch has made of an object.</summary>
    /// <param name="shown">What upstream calls the invalid value: the patched document, or a strategic patch itself.</param>
    /// <param name="ofPatch">What strict decoding said of the patch itself.</param>
    /// <exception cref="StatusException">422 about the field <c>patch</c>, as upstream.</exception>
    public JsonObject Patched(JsonObject raw, TypeSchema? schema, VerbRequest request, Func<string> shown, IReadOnlyList<string> ofPatch)
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
            // The fault itself, without the sentence about the body's kind.
            int at = e.Message.IndexOf(": json: ", StringComparison.Ordinal);
            throw InvalidPatch(shown(), at < 0 ? e.Message : e.Message[(at + 2)..]);
        }

        strict.InsertRange(0, ofPatch);
        if (strict.Count > 0 && request.Validation == FieldValidation.Strict)
        {
            throw InvalidPatch(shown(), ObjectDecoder.StrictText(strict));
        }

        if (request.Validation == FieldValidation.Warn)
        {
            request.Warnings.AddRange(strict.Except(request.Warnings));
        }

        return obj;
    }

    private static StatusException InvalidPatch(string shown, string why) => new(Status.Invalid(
        new GroupKind("", ""), "", [FieldError.Invalid(FieldPath.New("patch"), shown, why)]));

    /// <summary>
    /// The body must say it is what the URL stands for, or say nothing; what it leaves out is taken as expected (upstream: serializer
    /// json.go gvkWithDefaults, then conversion, then AcceptsGroupVersion).
    /// </summary>
    private void CheckKind(byte[] json, GroupVersionKind expected)
    {
        (string apiVersion, string kind) = ReadKind(json);
        if ((kind.Length == 0 || kind == expected.Kind) && (apiVersion.Length == 0 || apiVersion == expected.ApiVersion))
        {
            return;
        }

        int slash = apiVersion.IndexOf('/', StringComparison.Ordinal);
        GroupVersionKind given = new(
            apiVersion.Length == 0 ? expected.Group : slash < 0 ? "" : apiVersion[..slash],
            apiVersion.Length == 0 ? expected.Version : apiVersion[(slash + 1)..],
            kind.Length == 0 ? expected.Kind : kind);
        string why = schemas.Find(given) is null
            ? $"no kind \"{given.Kind}\" is registered for version \"{given.ApiVersion}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
            : $"converting ({given.Version}.{given.Kind}) to ({InternalPackage(expected.Group)}.{expected.Kind}): unknown conversion";
        bool converts = schemas.Find(given) is not null && given.Kind == expected.Kind && InternalPackage(given.Group) == InternalPackage(expected.Group);
        throw new StatusException(Status.BadRequest(converts
            ? $"the API version in the data ({given.ApiVersion}) does not match the expected API version ({expected.ApiVersion})"
            : $"{given.Kind} in version \"{given.Version}\" cannot be handled as a {expected.Kind}: {why}"));
    }

    /// <summary>Where upstream keeps the types all versions of a group convert to.</summary>
    private static string InternalPackage(string group) => group is "" or "events.k8s.io" ? "core" : group.Split('.')[0];

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
