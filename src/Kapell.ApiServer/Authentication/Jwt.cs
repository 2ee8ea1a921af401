using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authentication;

/// <summary>
/// JSON web tokens in compact form (RFC 7515, 7519), only as service accounts use them: signed with a key whose algorithm the
/// token cannot choose, and bounded in size.
/// </summary>
internal sealed class Jwt
{
    public const int BytesMax = 16 * 1024;

    private static readonly JsonDocumentOptions ParseOptions = new() { MaxDepth = 16 };

    private readonly string _text;
    private readonly byte[] _signature;
    private readonly JsonElement _header;

    private Jwt(string text, JsonElement header, JsonElement claims, byte[] signature)
    {
        _text = text;
        _header = header;
        Claims = claims;
        _signature = signature;
    }

    /// <summary>The token as it came.</summary>
    public string Text => _text;

    /// <summary>Not to be believed before <see cref="IsSignedBy"/>.</summary>
    public JsonElement Claims { get; }

    /// <summary>Null when the text is not a JWT at all.</summary>
    public static Jwt? TryParse(string text)
    {
        if (text.Length is 0 or > BytesMax || text.Count(c => c == '.') != 2)
        {
            return null;
        }

        int first = text.IndexOf('.', StringComparison.Ordinal);
        int last = text.LastIndexOf('.');
        try
        {
            JsonElement header = Parse(text.AsSpan(0, first));
            JsonElement claims = Parse(text.AsSpan(first + 1, last - first - 1));
            return header.ValueKind == JsonValueKind.Object && claims.ValueKind == JsonValueKind.Object
                ? new Jwt(text, header, claims, Base64Url.DecodeFromChars(text.AsSpan(last + 1)))
                : null;
        }
        catch (Exception e) when (e is FormatException or JsonException)
        {
            return null;
        }
    }

    public static string Sign(JsonObject claims, TokenKey key)
    {
        JsonObject header = new() { ["alg"] = key.Algorithm, ["kid"] = key.Id };
        string body = Base64Url.EncodeToString(JsonBytes.Of(header)) + "." + Base64Url.EncodeToString(JsonBytes.Of(claims));
        return body + "." + Base64Url.EncodeToString(key.Sign(Encoding.ASCII.GetBytes(body)));
    }

    /// <summary>A <c>kid</c> narrows the choice of keys; the key alone decides the algorithm, so <c>alg: none</c> and HMAC confusion cannot pass.</summary>
    public bool IsSignedBy(IReadOnlyList<TokenKey> keys)
    {
        string id = _header.Text("kid");
        string algorithm = _header.Text("alg");
        byte[] signed = Encoding.ASCII.GetBytes(_text, 0, _text.LastIndexOf('.'));
        foreach (TokenKey key in keys)
        {
            if ((id.Length == 0 || id == key.Id) && algorithm == key.Algorithm && key.Verify(signed, _signature))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>One text or a list of texts, as <c>aud</c> may be.</summary>
    public IReadOnlyList<string> Audiences
    {
        get
        {
            JsonElement aud = Claims.Get("aud");
            return aud.ValueKind switch
            {
                JsonValueKind.String => [aud.GetString()!],
                JsonValueKind.Array => [.. aud.EnumerateArray().Where(a => a.ValueKind == JsonValueKind.String).Select(a => a.GetString()!)],
                _ => [],
            };
        }
    }

    private static JsonElement Parse(ReadOnlySpan<char> part) =>
        JsonDocument.Parse(Base64Url.DecodeFromChars(part), ParseOptions).RootElement;
}
