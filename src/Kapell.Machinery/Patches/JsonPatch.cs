using System.Globalization;
using System.Text.Json.Nodes;

namespace Kapell.Machinery.Patches;

/// <summary>
/// JSON patch (RFC 6902) with the words of the library upstream uses (evanphx/json-patch v4). Works on a copy; what a patch may
/// do is bounded by its number of operations and by the size of the result.
/// </summary>
public static class JsonPatch
{
    /// <summary>apiserver: handlers/patch.go maxJSONPatchOperations.</summary>
    public const int OperationsMax = 10_000;

    private const string Missing = "missing value";
    private const string BadIndex = "invalid index referenced";

    /// <summary>"copy" can double a document with each operation; upstream bounds the sum too (jsonpatch.AccumulatedCopySizeLimit).</summary>
    private const int CopiedBytesMax = Decoding.ObjectDecoder.BytesMax;

    /// <exception cref="StatusException">BadRequest: not a patch. RequestEntityTooLarge. 422 with the operation's fault otherwise.</exception>
    public static JsonObject Apply(JsonObject target, ReadOnlyMemory<byte> patch)
    {
        if (PatchBody.Parse(patch, "invalid JSON patch") is not JsonArray operations)
        {
            throw PatchBody.Bad("json: cannot unmarshal object into Go value of type jsonpatch.Patch");
        }

        if (operations.Count > OperationsMax)
        {
            throw new StatusException(Status.TooLarge(
                $"The allowed maximum operations in a JSON patch is {OperationsMax}, got {operations.Count}"));
        }

        JsonNode? document = target.DeepClone();
        long copied = 0;
        foreach (JsonNode? operation in operations)
        {
            if (operation is not JsonObject op)
            {
                throw PatchBody.Bad("json: cannot unmarshal array into Go value of type jsonpatch.Operation");
            }

            Do(ref document, op, ref copied);
        }

        return document as JsonObject ?? throw Refused("the patched document is not an object");
    }

    private static void Do(ref JsonNode? document, JsonObject op, ref long copied)
    {
        string name = op.Text("op");
        if (op["path"].AsText() is not { } path)
        {
            throw Refused($"{name} operation failed to decode path: {Missing}");
        }

        switch (name)
        {
            case "add":
                Add(ref document, path, op["value"]?.DeepClone(), "add");
                break;
            case "remove":
                Remove(document, path, "remove");
                break;
            case "replace":
                Replace(ref document, path, op["value"]?.DeepClone());
                break;
            case "test":
                Test(document, path, op);
                break;
            case "move":
            case "copy":
                string from = op["from"].AsText() ?? throw Refused($"{name} operation failed to decode from: {Missing}");
                if (!TryFind(document, from, out JsonNode? value))
                {
                    throw Refused($"{name} operation does not apply: doc is missing from path: {from}: {Missing}");
                }

                JsonNode? taken = value?.DeepClone();
                copied += name == "copy" && taken is not null ? JsonBytes.Of(taken).Length : 0;
                if (copied > CopiedBytesMax)
                {
                    throw Refused($"Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {CopiedBytesMax}");
                }

                if (name == "move")
                {
                    Remove(document, from, "move");
                }

                Add(ref document, path, taken, name);
                break;
            default:
                throw Refused($"Unexpected kind: {name}");
        }
    }

    private static void Add(ref JsonNode? document, string path, JsonNode? value, string verb)
    {
        if (path.Length == 0)
        {
            document = value;
            return;
        }

        (JsonNode? parent, string key) = Parent(document, path);
        switch (parent)
        {
            case JsonObject o:
                o[key] = value;
                break;
            case JsonArray a:
                a.Insert(key == "-" ? a.Count : IndexOf(a.Count + 1, key, $"error in {verb} for path: '{path}': "), value);
                break;
            default:
                throw Refused($"{verb} operation does not apply: doc is missing path: \"{path}\": {Missing}");
        }
    }

    private static void Remove(JsonNode? document, string path, string verb)
    {
        (JsonNode? parent, string key) = Parent(document, path);
        switch (parent)
        {
            case JsonObject o:
                if (!o.Remove(key))
                {
                    throw Refused($"error in {verb} for path: '{path}': Unable to remove nonexistent key: {key}: {Missing}");
                }

                break;
            case JsonArray a:
                a.RemoveAt(IndexOf(a.Count, key, $"error in {verb} for path: '{path}': "));
                break;
            default:
                throw Refused($"{verb} operation does not apply: doc is missing path: \"{path}\": {Missing}");
        }
    }

    private static void Replace(ref JsonNode? document, string path, JsonNode? value)
    {
        if (path.Length == 0)
        {
            document = value;
            return;
        }

        (JsonNode? parent, string key) = Parent(document, path);
        switch (parent)
        {
            case JsonObject o when o.ContainsKey(key):
                o[key] = value;
                break;
            case JsonObject:
                throw Refused($"replace operation does not apply: doc is missing key: {path}: {Missing}");
            case JsonArray a:
                a[IndexOf(a.Count, key, $"error in replace for path: '{path}': ")] = value;
                break;
            default:
                throw Refused($"replace operation does not apply: doc is missing path: {path}: {Missing}");
        }
    }

    private static void Test(JsonNode? document, string path, JsonObject op)
    {
        TryFind(document, path, out JsonNode? found);
        if (!JsonNode.DeepEquals(found, op["value"]))
        {
            throw Refused($"testing value {path} failed: test failed");
        }
    }

    private static bool TryFind(JsonNode? document, string path, out JsonNode? value)
    {
        value = document;
        if (path.Length == 0)
        {
            return true;
        }

        (JsonNode? parent, string key) = Parent(document, path);
        if (parent is JsonObject o)
        {
            return o.TryGetPropertyValue(key, out value);
        }

        value = null;
        if (parent is JsonArray a)
        {
            value = a[IndexOf(a.Count, key, "")];
            return true;
        }

        return false;
    }

    private static (JsonNode? Parent, string Key) Parent(JsonNode? document, string path)
    {
        string[] parts = path.Split('/');
        for (int i = 1; i < parts.Length - 1; i++)
        {
            string part = Unescape(parts[i]);
            document = document switch
            {
                JsonObject o => o[part],
                JsonArray a when TryIndex(a.Count, part, out int index) => a[index],
                _ => null,
            };
        }

        return (parts.Length < 2 || parts[0].Length > 0 ? null : document, Unescape(parts[^1]));
    }

    private static int IndexOf(int count, string key, string where)
    {
        if (TryIndex(count, key, out int index))
        {
            return index;
        }

        throw int.TryParse(key, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number)
            ? Refused($"{where}Unable to access invalid index: {number}: {BadIndex}")
            : Refused($"{where}strconv.Atoi: parsing \"{key}\": invalid syntax");
    }

    // A negative index counts from the end, as upstream's library allows.
    private static bool TryIndex(int count, string key, out int index)
    {
        bool number = int.TryParse(key, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out index);
        index = index < 0 ? index + count : index;
        return number && index >= 0 && index < count;
    }

    private static string Unescape(string part) =>
        part.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal);

    private static StatusException Refused(string message) => new(new Status { Code = 422, Reason = "Invalid", Message = message });
}
