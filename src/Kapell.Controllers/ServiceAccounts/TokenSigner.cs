using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Kapell.Base;
using Kapell.Machinery;

namespace Kapell.Controllers.ServiceAccounts;

/// <summary>
/// Signs the tokens that stand in secrets of type kubernetes.io/service-account-token: JWTs without an end, good as long as the secret
/// and the account are there (pkg/serviceaccount/legacy.go, jwt.go). RSA signs as RS256, ECDSA by its curve. Safe for concurrent use.
/// </summary>
internal sealed class TokenSigner
{
    private readonly RSA? _rsa;
    private readonly ECDsa? _ecdsa;
    private readonly string _header;
    private readonly HashAlgorithmName _hash = HashAlgorithmName.SHA256;
    private readonly Lock _gate = new(); // around the key: the platform's key objects are not for many threads

    /// <exception cref="CryptographicException">The text holds no private RSA or ECDSA key.</exception>
    public TokenSigner(string pem)
    {
        AsymmetricAlgorithm key = Read(pem);
        _rsa = key as RSA;
        _ecdsa = key as ECDsa;
        string algorithm = "RS256";
        if (_ecdsa is not null)
        {
            (algorithm, _hash) = _ecdsa.KeySize switch
            {
                256 => ("ES256", HashAlgorithmName.SHA256),
                384 => ("ES384", HashAlgorithmName.SHA384),
                521 => ("ES512", HashAlgorithmName.SHA512),
                _ => throw new CryptographicException("an ECDSA service account key must be on curve P-256, P-384 or P-521"),
            };
        }

        string id = Base64Url.EncodeToString(SHA256.HashData(key.ExportSubjectPublicKeyInfo()));
        _header = Encode(new JsonObject { ["alg"] = algorithm, ["kid"] = id });
    }

    /// <exception cref="FlagException">The file cannot be read or holds no private key.</exception>
    public static TokenSigner Load(string path)
    {
        try
        {
            return new TokenSigner(File.ReadAllText(path));
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new FlagException($"--service-account-private-key-file: {path}: {e.Message}");
        }
    }

    public string Sign(KubeObject account, string secretName)
    {
        JsonObject claims = new()
        {
            ["iss"] = "kubernetes/serviceaccount",
            ["kubernetes.io/serviceaccount/namespace"] = account.Namespace,
            ["kubernetes.io/serviceaccount/secret.name"] = secretName,
            ["kubernetes.io/serviceaccount/service-account.name"] = account.Name,
            ["kubernetes.io/serviceaccount/service-account.uid"] = account.Uid,
            ["sub"] = $"system:serviceaccount:{account.Namespace}:{account.Name}",
        };
        string text = _header + "." + Encode(claims);
        byte[] bytes = Encoding.ASCII.GetBytes(text);
        lock (_gate)
        {
            byte[] signature = _rsa is not null ? _rsa.SignData(bytes, _hash, RSASignaturePadding.Pkcs1) : _ecdsa!.SignData(bytes, _hash); // one of the two is set
            return text + "." + Base64Url.EncodeToString(signature);
        }
    }

    private static string Encode(JsonObject json) => Base64Url.EncodeToString(JsonBytes.Of(json));

    private static AsymmetricAlgorithm Read(string pem)
    {
        RSA rsa = RSA.Create();
        try
        {
            rsa.ImportFromPem(pem);
            return rsa;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            rsa.Dispose();
            ECDsa ecdsa = ECDsa.Create();
            ecdsa.ImportFromPem(pem);
            return ecdsa;
        }
    }
}
