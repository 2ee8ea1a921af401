using System.Buffers.Text;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Kapell.Base;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Rpc.Authentication;

/// <summary>
/// Signed tokens that carry user, revision and end. Any member with the key believes them, also after a restart. etcd: auth/jwt.go
/// </summary>
internal sealed class JwtTokens
{
    private static readonly TimeSpan AlmostASecond = TimeSpan.FromTicks(TimeSpan.TicksPerSecond - 1);
    private static readonly TimeSpan LifetimeDefault = TimeSpan.FromMinutes(5);
    private static readonly JsonWriterOptions Compact = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly Lock _lock = new(); // The keys' objects are not for several threads.
    private readonly string _method;
    private readonly HashAlgorithmName _hash;
    private readonly TimeSpan _lifetime;
    private readonly bool _verifyOnly;
    private readonly RSA? _rsa;
    private readonly ECDsa? _curve;
    private readonly byte[]? _secret;

    private JwtTokens(string method, HashAlgorithmName hash, TimeSpan lifetime, AsymmetricAlgorithm? key, byte[]? secret, bool verifyOnly)
    {
        (_method, _hash, _lifetime, _secret, _verifyOnly) = (method, hash, lifetime, secret, verifyOnly);
        _rsa = key as RSA;
        _curve = key as ECDsa;
    }

    /// <exception cref="FlagException">Keys and method do not go together, in upstream's words.</exception>
    public static JwtTokens Load(IReadOnlyDictionary<string, string> options)
    {
        string method = options.GetValueOrDefault("sign-method", "");
        if (method == "EdDSA")
        {
            throw new FlagException("auth: sign-method EdDSA is not supported by this version of Kapell: the platform has no Ed25519; choose ES256 or RS256");
        }

        bool known = method.Length == 5 && method[..2] is "RS" or "PS" or "ES" or "HS" && method[2..] is "256" or "384" or "512";
        try
        {
            string ttl = options.GetValueOrDefault("ttl", "");
            TimeSpan lifetime = ttl.Length == 0 ? LifetimeDefault : GoDuration.Parse(ttl);
            byte[] publicKey = ReadFile(options.GetValueOrDefault("pub-key", ""));
            byte[] privateKey = ReadFile(options.GetValueOrDefault("priv-key", ""));
            return known ? Load(method, lifetime, publicKey, privateKey) : throw new FormatException(method);
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            throw new FlagException("auth: invalid auth options");
        }
    }

    /// <summary>Null when this member can only verify.</summary>
    public string? Sign(string user, ulong revision, DateTimeOffset now)
    {
        if (_verifyOnly)
        {
            return null;
        }

        string header = Encode(json =>
        {
            json.WriteString("alg", _method);
            json.WriteString("typ", "JWT");
        });
        string claims = Encode(json =>
        {
            // Whole seconds, rounded up: a token of one second would else be over after anything between none and one.
            json.WriteNumber("exp", (now + _lifetime + AlmostASecond).ToUnixTimeSeconds());
            json.WriteNumber("revision", revision);
            json.WriteString("username", user);
        });
        string signed = $"{header}.{claims}";
        return $"{signed}.{Base64Url.EncodeToString(SignBytes(Encoding.ASCII.GetBytes(signed)))}";
    }

    /// <summary>Who the token speaks for; null when it is not good.</summary>
    public Caller? Verify(string token, DateTimeOffset now)
    {
        string[] parts = token.Split('.');
        if (parts.Length != 3)
        {
            return null;
        }

        try
        {
            using JsonDocument header = JsonDocument.Parse(Base64Url.DecodeFromChars(parts[0]));
            bool good = header.RootElement.GetProperty("alg").GetString() == _method
                && VerifyBytes(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), Base64Url.DecodeFromChars(parts[2]));
            return good ? ReadClaims(Base64Url.DecodeFromChars(parts[1]), now.ToUnixTimeSeconds()) : null;
        }
        catch (Exception e) when (e is FormatException or JsonException or KeyNotFoundException or InvalidOperationException or CryptographicException)
        {
            // Hostile or broken: no token of ours.
            return null;
        }
    }

    private static Caller? ReadClaims(byte[] json, double now)
    {
        using JsonDocument claims = JsonDocument.Parse(json);
        JsonElement root = claims.RootElement;
        bool over = root.TryGetProperty("exp", out JsonElement end) && end.GetDouble() <= now;
        bool early = root.TryGetProperty("nbf", out JsonElement begin) && begin.GetDouble() > now;
        double revision = root.GetProperty("revision").GetDouble();
        return over || early || revision is not (>= 0 and < ulong.MaxValue)
            ? null
            : new Caller(root.GetProperty("username").GetString(), (ulong)revision);
    }

    private static JwtTokens Load(string method, TimeSpan lifetime, byte[] publicKey, byte[] privateKey)
    {
        HashAlgorithmName hash = new("SHA" + method[2..]);
        if (method[0] == 'H')
        {
            return privateKey.Length > 0 ? new JwtTokens(method, hash, lifetime, null, privateKey, false) : throw new FlagException("auth: missing key data");
        }

        if (publicKey.Length == 0 && privateKey.Length == 0)
        {
            throw new FlagException("auth: missing key data");
        }

        try
        {
            AsymmetricAlgorithm? shown = publicKey.Length == 0 ? null : Import(method, publicKey);
            AsymmetricAlgorithm? own = privateKey.Length == 0 ? null : Import(method, privateKey);
            if (shown is not null && own is not null && !shown.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(own.ExportSubjectPublicKeyInfo()))
            {
                throw new FlagException("auth: public and private keys don't match");
            }

            return new JwtTokens(method, hash, lifetime, own ?? shown, null, own is null);
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            throw new FlagException($"auth: the key for {method} cannot be read: {e.Message}");
        }
    }

    // A certificate stands for the key in it, as in golang-jwt.
    private static AsymmetricAlgorithm Import(string method, byte[] pem)
    {
        string text = Encoding.ASCII.GetString(pem);
        if (text.Contains("-----BEGIN CERTIFICATE-----", StringComparison.Ordinal))
        {
            using X509Certificate2 certificate = X509Certificate2.CreateFromPem(text);
            text = certificate.PublicKey.ExportSubjectPublicKeyInfo() is { Length: > 0 } key ? PemEncoding.WriteString("PUBLIC KEY", key) : text;
        }

        if (method[0] != 'E')
        {
            RSA rsa = RSA.Create();
            rsa.ImportFromPem(text);
            return rsa;
        }

        ECDsa curve = ECDsa.Create();
        curve.ImportFromPem(text);
        int bits = method[2..] == "512" ? 521 : int.Parse(method[2..], System.Globalization.CultureInfo.InvariantCulture);
        return curve.KeySize == bits ? curve : throw new ArgumentException($"a curve of {curve.KeySize} bits");
    }

    private static byte[] ReadFile(string path) => path.Length == 0 ? [] : File.ReadAllBytes(path);

    private static string Encode(Action<Utf8JsonWriter> write)
    {
        using MemoryStream bytes = new();
        using (Utf8JsonWriter json = new(bytes, Compact))
        {
            json.WriteStartObject();
            write(json);
            json.WriteEndObject();
        }

        return Base64Url.EncodeToString(bytes.ToArray());
    }

    private RSASignaturePadding Padding => _method[0] == 'P' ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1;

    private byte[] SignBytes(byte[] data)
    {
        lock (_lock)
        {
            return _secret is not null ? CryptographicOperations.HmacData(_hash, _secret, data)
                : _rsa is not null ? _rsa.SignData(data, _hash, Padding)
                : _curve!.SignData(data, _hash, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
        }
    }

    private bool VerifyBytes(byte[] data, byte[] signature)
    {
        lock (_lock)
        {
            return _secret is not null ? CryptographicOperations.FixedTimeEquals(CryptographicOperations.HmacData(_hash, _secret, data), signature)
                : _rsa is not null ? _rsa.VerifyData(data, signature, _hash, Padding)
                : _curve!.VerifyData(data, signature, _hash, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
        }
    }
}
