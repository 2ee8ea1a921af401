using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Base;
using Kapell.Machinery.Schemas;

namespace Kapell.Machinery.Decoding;

/// <summary>
/// Bytes of a request to an object that matches its schema, as Go's decoder and Kubernetes' strict decoder would leave it: unknown
/// fields dropped and reported, duplicates reported (the last wins), explicit nulls and empty optional lists and maps dropped,
/// wrong types refused. Names are case-sensitive (sigs.k8s.io/json).
/// </summary>
public static class ObjectDecoder
{
    /// <summary>etcd takes no more than 1.5 MiB; upstream's own limit for request bodies is 3 MiB.</summary>
    public const int BytesMax = 3 * 1024 * 1024;

    public const int DepthMax = 100;

    /// <summary>More strict errors than this tell nobody more.</summary>
    internal const int StrictErrorsMax = 100;

    /// <summary>What upstream reads apiVersion and kind into before anything else.</summary>
    private const string TypeMetaStruct = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";

    /// <param name="strictErrors">
    /// In upstream's words, for fieldValidation Warn (each is a warning) and Strict (see <see cref="StrictFailure"/>); empty when clean.
    /// </param>
    /// <exception cref="StatusException">BadRequest: not JSON, too large or deep, or a value of the wrong type.</exception>
    public static void Decode(ReadOnlyMemory<byte> utf8, TypeSchema schema, out JsonObject obj, out List<string> strictErrors)
    {
        if (utf8.Length > BytesMax)
        {
            throw new StatusException(Status.TooLarge($"Request entity too large: limit is {BytesMax}"));
        }

        string kind = schema.Kind?.Kind ?? schema.GoName;
        DecodingRun run = new();
        JsonNode? node;
        try
        {
            Utf8JsonReader reader = new(utf8.Span, new JsonReaderOptions { MaxDepth = DepthMax });
            _ = reader.Read();
            if (reader.TokenType is not (JsonTokenType.StartObject or JsonTokenType.Null))
            {
                throw Unrecognized(kind, $"json: cannot unmarshal {GoKind(reader.TokenType)} into Go value of type {TypeMetaStruct}", utf8.Span);
            }

            node = run.Value(ref reader, schema.OpenValue, required: true);
            _ = reader.Read();
        }
        catch (JsonException e)
        {
            throw Unrecognized(kind, GoJsonSyntax.FaultOf(utf8.Span) ?? e.Message, utf8.Span);
        }
        catch (InvalidOperationException)
        {
            throw Unrecognized(kind, "a string is not valid UTF-8", utf8.Span);
        }

        obj = node as JsonObject ?? [];
        strictErrors = run.StrictErrors;
        if (run.Fault is not null)
        {
            throw new StatusException(Status.BadRequest(CannotBeHandled(obj, schema, run.Fault)));
        }
    }

    /// <summary>
    /// What fieldValidation=Strict answers: <c>Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.foo"</c>.
    /// </summary>
    public static StatusException StrictFailure(JsonObject obj, TypeSchema schema, IReadOnlyList<string> strictErrors) =>
        new(Status.BadRequest(CannotBeHandled(obj, schema, StrictText(strictErrors))));

    /// <summary><c>strict decoding error: unknown field "spec.foo", duplicate field "spec.replicas"</c>.</summary>
    public static string StrictText(IReadOnlyList<string> strictErrors) => "strict decoding error: " + string.Join(", ", strictErrors);

    /// <summary>For an object already parsed (after a patch): drops what the schema does not know and reports it.</summary>
    public static void Decode(JsonObject raw, TypeSchema schema, out JsonObject obj, out List<string> strictErrors) =>
        Decode(JsonBytes.Of(raw), schema, out obj, out strictErrors);

    /// <summary>A body that does not name its kind or version has the expected ones.</summary>
    private static string CannotBeHandled(JsonObject obj, TypeSchema schema, string why)
    {
        string kind = schema.Kind?.Kind ?? schema.GoName;
        string given = obj.Text("kind");
        string apiVersion = obj.Text("apiVersion");
        string version = apiVersion.Length == 0 ? schema.Kind?.Version ?? "" : apiVersion[(apiVersion.IndexOf('/', StringComparison.Ordinal) + 1)..];
        return $"{(given.Length == 0 ? kind : given)} in version \"{version}\" cannot be handled as a {kind}: {why}";
    }

    private static string GoKind(JsonTokenType token) => token switch
    {
        JsonTokenType.StartArray => "array",
        JsonTokenType.String => "string",
        JsonTokenType.Number => "number",
        _ => "bool",
    };

    private static StatusException Unrecognized(string kind, string why, ReadOnlySpan<byte> body)
    {
        ReadOnlySpan<byte> head = body[..Math.Min(30, body.Length)];
        string summary = body.IsEmpty ? "<empty>" : body[0] == '{' ? Encoding.UTF8.GetString(head) : Convert.ToHexStringLower(head);
        return new StatusException(Status.BadRequest(
            $"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why} ({summary}{(body.Length > 30 ? " ..." : "")})"));
    }
}
