using System.Buffers;
using System.Text;
using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.Client;

/// <summary>Turns answers of an API server into objects, lists, events and statuses. Pure functions over bytes.</summary>
internal static class ResponseReading
{
    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = 128 };

    /// <summary>
    /// Reads a list. Upstream leaves <c>kind</c> and <c>apiVersion</c> out of a list's items; they are put back from the list's own,
    /// so that an object reads the same whether it came from a list or from a watch.
    /// </summary>
    public static KubeList List(ReadOnlySpan<byte> utf8)
    {
        Utf8JsonReader reader = new(utf8, ReaderOptions);
        List<(int Start, int End, bool HasKind)> items = [];
        string kind = "", apiVersion = "", resourceVersion = "", next = "";
        Expect(ref reader, JsonTokenType.StartObject);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("items"u8))
            {
                reader.Read();
                ReadItems(ref reader, items);
            }
            else if (reader.ValueTextEquals("kind"u8))
            {
                kind = ReadText(ref reader);
            }
            else if (reader.ValueTextEquals("apiVersion"u8))
            {
                apiVersion = ReadText(ref reader);
            }
            else if (reader.ValueTextEquals("metadata"u8))
            {
                ReadListMeta(ref reader, ref resourceVersion, ref next);
            }
            else
            {
                reader.Skip();
            }
        }

        if (!kind.EndsWith("List", StringComparison.Ordinal))
        {
            throw new JsonException($"a list is expected, the server sent \"{kind}\"");
        }

        byte[] head = Encoding.UTF8.GetBytes($"{{\"kind\":\"{JsonEncodedText.Encode(kind[..^4])}\",\"apiVersion\":\"{JsonEncodedText.Encode(apiVersion)}\"");
        List<KubeObject> objects = new(items.Count);
        foreach ((int start, int end, bool hasKind) in items)
        {
            objects.Add(new KubeObject(hasKind ? utf8[start..end].ToArray() : WithHead(head, utf8[start..end])));
        }

        return new KubeList(objects, resourceVersion, next);
    }

    /// <summary>One line of a watch. An ERROR event is thrown as the status it carries.</summary>
    public static WatchEvent Event(byte[] line)
    {
        Utf8JsonReader reader = new(line, ReaderOptions);
        string type = "";
        ReadOnlyMemory<byte> body = default;
        Expect(ref reader, JsonTokenType.StartObject);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("type"u8))
            {
                type = ReadText(ref reader);
            }
            else if (reader.ValueTextEquals("object"u8))
            {
                reader.Read();
                int start = (int)reader.TokenStartIndex;
                reader.Skip();
                body = line.AsMemory(start, (int)reader.BytesConsumed - start);
            }
            else
            {
                reader.Skip();
            }
        }

        return type switch
        {
            "ADDED" => new WatchEvent(WatchEventType.Added, new KubeObject(body)),
            "MODIFIED" => new WatchEvent(WatchEventType.Modified, new KubeObject(body)),
            "DELETED" => new WatchEvent(WatchEventType.Deleted, new KubeObject(body)),
            "BOOKMARK" => new WatchEvent(WatchEventType.Bookmark, new KubeObject(body)),
            "ERROR" => throw new StatusException(StatusOf(body.Span, 500, "", new GroupResource("", ""), "")),
            _ => throw new JsonException($"unknown watch event type \"{type}\""),
        };
    }

    /// <summary>The status in a body, or, when the body is none, what client-go makes of the bare code (NewGenericServerResponse).</summary>
    public static Status StatusOf(ReadOnlySpan<byte> utf8, int code, string verb, GroupResource resource, string name)
    {
        try
        {
            KubeObject body = new(utf8.ToArray());
            if (body.Kind == "Status")
            {
                JsonElement details = body.Root.Get("details");
                return new Status
                {
                    Code = (int)body.Root.Long("code", code), Reason = body.Root.Text("reason"), Message = body.Root.Text("message"),
                    Name = details.Text("name"), Group = details.Text("group"), Kind = details.Text("kind"), Uid = details.Text("uid"),
                    RetryAfterSeconds = (int)Math.Clamp(details.Long("retryAfterSeconds"), 0, int.MaxValue),
                    Causes = [.. details.Items("causes").Take(1000).Select(c => new StatusCause(c.Text("reason"), c.Text("message"), c.Text("field")))],
                };
            }
        }
        catch (JsonException)
        {
            // Not every answer is from the API server itself: a proxy's HTML ends here and becomes the generic status below.
        }

        return Generic(utf8, code, verb, resource, name);
    }

    private static Status Generic(ReadOnlySpan<byte> body, int code, string verb, GroupResource resource, string name)
    {
        (string reason, string message) = code switch
        {
            400 => ("BadRequest", "the server rejected our request for an unknown reason"),
            401 => ("Unauthorized", "the server has asked for the client to provide credentials"),
            403 => ("Forbidden", Encoding.UTF8.GetString(body[..Math.Min(body.Length, 1024)])),
            404 => ("NotFound", "the server could not find the requested resource"),
            405 => ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
            406 => ("NotAcceptable", "the server was unable to respond with a content type that the client supports"),
            409 => (verb == "POST" ? "AlreadyExists" : "Conflict", "the server reported a conflict"),
            410 => ("Gone", "the server no longer has the requested resource"),
            413 => ("RequestEntityTooLarge", "the server responded with the status code 413 but did not return more information"),
            415 => ("UnsupportedMediaType", "the server was unable to process the request with this content type"),
            422 => ("Invalid", "the server rejected our request due to an error in our request"),
            429 => ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "the server was unable to return a response in the time allotted, but may still be processing the request"),
            >= 500 => ("InternalError", $"an error on the server (\"{Snippet(body)}\") has prevented the request from succeeding"),
            _ => ("", $"the server responded with the status code {code} but did not return more information"),
        };
        if (verb.Length > 0 && resource.Resource.Length > 0)
        {
            message += $" ({verb.ToLowerInvariant()} {resource}{(name.Length > 0 ? " " + name : "")})";
        }

        return new Status { Code = code, Reason = reason, Message = message, Group = resource.Group, Kind = resource.Resource, Name = name };
    }

    private static string Snippet(ReadOnlySpan<byte> body) =>
        body.IsEmpty ? "unknown" : Encoding.UTF8.GetString(body[..Math.Min(body.Length, 256)]).Replace('\n', ' ').Trim();

    private static void ReadItems(ref Utf8JsonReader reader, List<(int Start, int End, bool HasKind)> items)
    {
        if (reader.TokenType == JsonTokenType.Null)
        {
            return;
        }

        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw new JsonException("the items of a list are an array");
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.StartObject)
        {
            int start = (int)reader.TokenStartIndex;
            bool hasKind = false;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                hasKind |= reader.ValueTextEquals("kind"u8);
                reader.Read();
                reader.Skip();
            }

            items.Add((start, (int)reader.BytesConsumed, hasKind));
        }
    }

    private static void ReadListMeta(ref Utf8JsonReader reader, ref string resourceVersion, ref string next)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            return;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("resourceVersion"u8))
            {
                resourceVersion = ReadText(ref reader);
            }
            else if (reader.ValueTextEquals("continue"u8))
            {
                next = ReadText(ref reader);
            }
            else
            {
                reader.Read();
                reader.Skip();
            }
        }
    }

    private static byte[] WithHead(ReadOnlySpan<byte> head, ReadOnlySpan<byte> item)
    {
        ReadOnlySpan<byte> rest = item[1..].TrimStart(" \t\r\n"u8);
        bool empty = rest[0] == (byte)'}';
        byte[] whole = new byte[head.Length + (empty ? 0 : 1) + rest.Length];
        head.CopyTo(whole);
        int at = head.Length;
        if (!empty)
        {
            whole[at++] = (byte)',';
        }

        rest.CopyTo(whole.AsSpan(at));
        return whole;
    }

    private static string ReadText(ref Utf8JsonReader reader)
    {
        reader.Read();
        if (reader.TokenType == JsonTokenType.String)
        {
            return reader.GetString()!;
        }

        reader.Skip();
        return "";
    }

    private static void Expect(ref Utf8JsonReader reader, JsonTokenType type)
    {
        if (!reader.Read() || reader.TokenType != type)
        {
            throw new JsonException("a JSON object is expected");
        }
    }
}
