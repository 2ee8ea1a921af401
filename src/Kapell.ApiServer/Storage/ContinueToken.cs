using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Storage;

/// <summary>Where a chunked list goes on: the revision it is of and the next key (upstream: storage/continue.go, the same bytes).</summary>
/// <param name="Revision">-1: go on at the newest revision.</param>
/// <param name="StartKey">Below the list's prefix.</param>
internal readonly record struct ContinueToken(long Revision, string StartKey)
{
    public string Encode()
    {
        JsonObject json = new() { ["v"] = "meta.k8s.io/v1", ["rv"] = Revision, ["start"] = StartKey };
        return Convert.ToBase64String(JsonBytes.Of(json)).TrimEnd('=').Replace('+', '-').Replace('/', '_');
    }

    /// <exception cref="StatusException">400 with upstream's words.</exception>
    public static ContinueToken Decode(string token)
    {
        JsonElement json;
        try
        {
            string base64 = token.Replace('-', '+').Replace('_', '/');
            byte[] bytes = Convert.FromBase64String(base64.PadRight((base64.Length + 3) / 4 * 4, '='));
            json = JsonDocument.Parse(bytes).RootElement;
        }
        catch (Exception e) when (e is FormatException or JsonException or ArgumentException)
        {
            throw Invalid("illegal base64 data");
        }

        if (json.Text("v") != "meta.k8s.io/v1")
        {
            throw Invalid("server does not recognize this encoded version \"" + json.Text("v") + "\"");
        }

        long revision = json.Long("rv");
        if (revision == 0)
        {
            throw Invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
        }

        string start = json.Text("start");
        if (start.Length == 0)
        {
            throw Invalid("no start key (version meta.k8s.io/v1)");
        }

        // A client could otherwise read below another prefix.
        string[] segments = start.TrimStart('/').TrimEnd('\0').Split('/');
        if (segments.Length > 2 || segments.Any(s => s is "." or "..") || start.Length > 1024 || Encoding.UTF8.GetByteCount(start) > 2048)
        {
            throw Invalid("invalid key: " + start);
        }

        return new ContinueToken(revision, start.TrimStart('/'));
    }

    private static StatusException Invalid(string why) => new(Status.BadRequest("continue key is not valid: " + why));
}
