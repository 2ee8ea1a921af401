using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>Config maps and secrets (core validation: ValidateConfigMap, ValidateSecret).</summary>
internal static class DataValidation
{
    private const int BytesMax = 1024 * 1024;
    private const string Frozen = "field is immutable when `immutable` is set";
    private const string AccountAnnotation = "kubernetes.io/service-account.name";
    private const string Redacted = "<secret contents redacted>";
    private static readonly FieldPath Data = FieldPath.New("data");

    public static List<FieldError> ConfigMap(JsonObject o)
    {
        List<FieldError> errors = [];
        long bytes = 0;
        foreach ((string key, JsonNode? value) in o.Obj("data") ?? [])
        {
            Validating.Messages(errors, Data.Key(key), key, Names.IsConfigMapKey(key));
            if (o.Obj("binaryData")?.ContainsKey(key) == true)
            {
                errors.Add(FieldError.Invalid(Data.Key(key), key, "duplicate of key present in binaryData"));
            }

            bytes += Encoding.UTF8.GetByteCount(value.AsText() ?? "");
        }

        foreach ((string key, JsonNode? value) in o.Obj("binaryData") ?? [])
        {
            Validating.Messages(errors, FieldPath.New("binaryData").Key(key), key, Names.IsConfigMapKey(key));
            bytes += DecodedBytes(value);
        }

        if (bytes > BytesMax)
        {
            // Upstream names no field here, which it writes as an empty pair of brackets.
            errors.Add(FieldError.TooLong(FieldPath.Root.Key(""), BytesMax));
        }

        return errors;
    }

    public static List<FieldError> ConfigMapUpdate(JsonObject updated, JsonObject old) => Immutability(updated, old, "binaryData");

    public static List<FieldError> Secret(JsonObject o)
    {
        List<FieldError> errors = [];
        long bytes = 0;
        foreach ((string key, JsonNode? value) in o.Obj("data") ?? [])
        {
            Validating.Messages(errors, Data.Key(key), key, Names.IsConfigMapKey(key));
            bytes += DecodedBytes(value);
        }

        if (bytes > BytesMax)
        {
            errors.Add(FieldError.TooLong(Data, BytesMax));
        }

        switch (o.Text("type"))
        {
            case "kubernetes.io/service-account-token" when o.Obj("metadata", "annotations").Text(AccountAnnotation).Length == 0:
                errors.Add(FieldError.Required(FieldPath.New("metadata", "annotations").Key(AccountAnnotation), ""));
                break;
            case "kubernetes.io/dockercfg":
                JsonKey(errors, o, ".dockercfg");
                break;
            case "kubernetes.io/dockerconfigjson":
                JsonKey(errors, o, ".dockerconfigjson");
                break;
            case "kubernetes.io/basic-auth" when !HasKey(o, "username") && !HasKey(o, "password"):
                errors.Add(FieldError.Required(Data.Key("username"), ""));
                errors.Add(FieldError.Required(Data.Key("password"), ""));
                break;
            case "kubernetes.io/ssh-auth" when DecodedBytes(o.Obj("data")?["ssh-privatekey"]) == 0:
                errors.Add(FieldError.Required(Data.Key("ssh-privatekey"), ""));
                break;
            case "kubernetes.io/tls":
                foreach (string key in new[] { "tls.crt", "tls.key" })
                {
                    if (!HasKey(o, key))
                    {
                        errors.Add(FieldError.Required(Data.Key(key), ""));
                    }
                }

                break;
        }

        return errors;
    }

    public static List<FieldError> SecretUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        Validating.Immutable(errors, FieldPath.New("type"), updated["type"], old["type"]);
        errors.AddRange(Immutability(updated, old, null));
        return errors;
    }

    private static List<FieldError> Immutability(JsonObject updated, JsonObject old, string? alsoFrozen)
    {
        List<FieldError> errors = [];
        if (old.Bool("immutable") != true)
        {
            return errors;
        }

        if (updated.Bool("immutable") != true)
        {
            errors.Add(FieldError.Forbidden(FieldPath.New("immutable"), Frozen));
        }

        foreach (string field in alsoFrozen is null ? ["data"] : new[] { "data", alsoFrozen })
        {
            if (!(updated.Obj(field) ?? []).SameAs(old.Obj(field) ?? []))
            {
                errors.Add(FieldError.Forbidden(FieldPath.New(field), Frozen));
            }
        }

        return errors;
    }

    private static bool HasKey(JsonObject o, string key) => o.Obj("data")?.ContainsKey(key) == true;

    private static void JsonKey(List<FieldError> errors, JsonObject o, string key)
    {
        if (!HasKey(o, key))
        {
            errors.Add(FieldError.Required(Data.Key(key), ""));
            return;
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(Convert.FromBase64String(o.Obj("data").Text(key)));
            if (document.RootElement.ValueKind is not (JsonValueKind.Object or JsonValueKind.Null))
            {
                errors.Add(FieldError.Invalid(Data.Key(key), Redacted, "json: cannot unmarshal into Go value of type map[string]interface {}"));
            }
        }
        catch (JsonException)
        {
            // Not the parser's own words: they could quote the secret.
            errors.Add(FieldError.Invalid(Data.Key(key), Redacted, "invalid character looking for beginning of value"));
        }
        catch (FormatException)
        {
            errors.Add(FieldError.Invalid(Data.Key(key), Redacted, "illegal base64 data"));
        }
    }

    private static long DecodedBytes(JsonNode? value)
    {
        string text = value.AsText() ?? "";
        return (text.Length / 4L * 3) - (text.EndsWith("==", StringComparison.Ordinal) ? 2 : text.EndsWith('=') ? 1 : 0);
    }
}
