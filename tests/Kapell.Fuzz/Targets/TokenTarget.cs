using System.Security.Cryptography;
using System.Text;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Fuzz.Inputs;

namespace Kapell.Fuzz.Targets;

/// <summary>Signed tokens, as a client hands them in with every call.</summary>
internal sealed class TokenTarget : FuzzTarget
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private readonly JwtTokens _tokens;

    public TokenTarget() : base("jwt")
    {
        string key = Path.Combine(Path.GetTempPath(), $"kapell-fuzz-{Environment.ProcessId}.pem");
        using (ECDsa signer = ECDsa.Create(ECCurve.NamedCurves.nistP256))
        {
            File.WriteAllText(key, signer.ExportPkcs8PrivateKeyPem());
        }

        _tokens = JwtTokens.Load(new Dictionary<string, string> { ["sign-method"] = "ES256", ["priv-key"] = key, ["ttl"] = "5m" });
        File.Delete(key);
        Corpus = [Encoding.UTF8.GetBytes(_tokens.Sign("root", 3, Now)!), Encoding.UTF8.GetBytes(_tokens.Sign("u", 1, Now)!)];
    }

    public override IReadOnlyList<byte[]> Corpus { get; }

    public override bool Run(byte[] input) => _tokens.Verify(Encoding.UTF8.GetString(input), Now) is not null;
}
