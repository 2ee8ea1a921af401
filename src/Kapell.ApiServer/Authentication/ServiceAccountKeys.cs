using System.Buffers.Text;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;

namespace Kapell.ApiServer.Authentication;

/// <summary>One public key that service account tokens may be signed with, RSA or ECDSA, and its id (upstream: keyIDFromPublicKey).</summary>
internal sealed class TokenKey
{
    private readonly RSA? _rsa;
    private readonly ECDsa? _ecdsa;

    public TokenKey(AsymmetricAlgorithm key)
    {
        _rsa = key as RSA;
        _ecdsa = key as ECDsa;
        if (_rsa is null && _ecdsa is null)
        {
            throw new CryptographicException("a service account key must be RSA or ECDSA");
        }

        Algorithm = _rsa is not null ? "RS256" : _ecdsa!.KeySize switch
        {
            256 => "ES256",
            384 => "ES384",
            521 => "ES512",
            _ => throw new CryptographicException("an ECDSA service account key must be on curve P-256, P-384 or P-521"),
        };
        Id = Base64Url.EncodeToString(SHA256.HashData(key.ExportSubjectPublicKeyInfo()));
    }

    public string Id { get; }

    public string Algorithm { get; }

    public byte[] Sign(ReadOnlySpan<byte> data) =>
        _rsa is not null ? _rsa.SignData(data, Hash, RSASignaturePadding.Pkcs1) : _ecdsa!.SignData(data, Hash);

    public bool Verify(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) =>
        _rsa is not null
            ? _rsa.VerifyData(data, signature, Hash, RSASignaturePadding.Pkcs1)
            : _ecdsa!.VerifyData(data, signature, Hash);

    /// <summary>RFC 7517.</summary>
    public JsonObject ToJwk()
    {
        JsonObject jwk = new() { ["use"] = "sig", ["kty"] = _rsa is not null ? "RSA" : "EC", ["kid"] = Id };
        if (_rsa is not null)
        {
            RSAParameters rsa = _rsa.ExportParameters(false);
            jwk["alg"] = Algorithm;
            jwk["n"] = Base64Url.EncodeToString(rsa.Modulus);
            jwk["e"] = Base64Url.EncodeToString(rsa.Exponent);
            return jwk;
        }

        ECParameters ec = _ecdsa!.ExportParameters(false);
        jwk["crv"] = "P-" + _ecdsa.KeySize;
        jwk["alg"] = Algorithm;
        jwk["x"] = Base64Url.EncodeToString(ec.Q.X);
        jwk["y"] = Base64Url.EncodeToString(ec.Q.Y);
        return jwk;
    }

    private HashAlgorithmName Hash => Algorithm switch
    {
        "ES384" => HashAlgorithmName.SHA384,
        "ES512" => HashAlgorithmName.SHA512,
        _ => HashAlgorithmName.SHA256,
    };
}

/// <summary>The keys of --service-account-key-file (to verify) and --service-account-signing-key-file (to sign).</summary>
internal sealed class ServiceAccountKeys(IReadOnlyList<TokenKey> verifying, TokenKey? signing)
{
    private const int KeysMax = 64;

    public IReadOnlyList<TokenKey> Verifying { get; } = verifying;

    /// <summary>Null when this server issues no tokens.</summary>
    public TokenKey? Signing { get; } = signing;

    public static ServiceAccountKeys Load(IReadOnlyList<string> keyFiles, string signingKeyFile)
    {
        List<TokenKey> keys = [.. keyFiles.SelectMany(ReadFile).DistinctBy(k => k.Id)];
        TokenKey? signing = null;
        if (signingKeyFile.Length > 0)
        {
            signing = ReadFile(signingKeyFile).First();
            if (keys.All(k => k.Id != signing.Id))
            {
                keys.Add(signing);
            }
        }

        return new ServiceAccountKeys(keys, signing);
    }

    /// <summary>All keys of a PEM text: private keys, public keys and certificates.</summary>
    public static IEnumerable<TokenKey> Read(string pem)
    {
        int from = 0;
        for (int count = 0; count < KeysMax && PemEncoding.TryFind(pem.AsSpan(from), out PemFields fields); count++)
        {
            string label = pem[from..][fields.Label].ToString();
            string block = pem[from..][fields.Location].ToString();
            from += fields.Location.End.GetOffset(pem.Length - from);
            yield return label switch
            {
                "CERTIFICATE" => FromCertificate(block),
                "EC PRIVATE KEY" or "EC PUBLIC KEY" => FromEc(block),
                "EC PARAMETERS" => null!,
                "RSA PRIVATE KEY" or "RSA PUBLIC KEY" => FromRsa(block),
                _ => FromAny(block),
            };
        }
    }

    private static List<TokenKey> ReadFile(string path)
    {
        List<TokenKey> keys = [.. Read(File.ReadAllText(path)).Where(k => k is not null)];
        return keys.Count > 0
            ? keys
            : throw new CryptographicException($"{path}: data does not contain any valid RSA or ECDSA public keys");
    }

    private static TokenKey FromCertificate(string block)
    {
        using X509Certificate2 certificate = X509Certificate2.CreateFromPem(block);
        return new TokenKey((AsymmetricAlgorithm?)certificate.GetRSAPublicKey() ?? certificate.GetECDsaPublicKey()
            ?? throw new CryptographicException("a service account key must be RSA or ECDSA"));
    }

    private static TokenKey FromEc(string block)
    {
        ECDsa key = ECDsa.Create();
        key.ImportFromPem(block);
        return new TokenKey(key);
    }

    private static TokenKey FromRsa(string block)
    {
        RSA key = RSA.Create();
        key.ImportFromPem(block);
        return new TokenKey(key);
    }

    /// <summary>PKCS#8 and SubjectPublicKeyInfo do not name the algorithm in their label.</summary>
    private static TokenKey FromAny(string block)
    {
        try
        {
            return FromRsa(block);
        }
        catch (CryptographicException)
        {
            return FromEc(block);
        }
    }
}
