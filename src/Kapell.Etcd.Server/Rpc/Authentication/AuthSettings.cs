using Kapell.Base;

namespace Kapell.Etcd.Server.Rpc.Authentication;

/// <summary>How callers prove who they are.</summary>
internal sealed record AuthSettings
{
    public const int BcryptCostDefault = 10;
    private const int BcryptCostMin = 4;
    private const int BcryptCostMax = 31;

    public TokenKind Tokens { get; init; } = TokenKind.Simple;

    /// <summary>Set when <see cref="Tokens"/> says so.</summary>
    public JwtTokens? Jwt { get; init; }

    public TimeSpan SimpleTokenLifetime { get; init; } = TimeSpan.FromSeconds(300);

    public int BcryptCost { get; init; } = BcryptCostDefault;

    /// <summary>A client's certificate names its user when it sends no token.</summary>
    public bool UsesCertificates { get; init; }

    /// <summary>Reads <c>--auth-token</c>: a kind, then <c>,name=value</c>. etcd: auth/store.go NewTokenProvider</summary>
    /// <exception cref="FlagException">The option is wrong, in upstream's words.</exception>
    public static AuthSettings Parse(string tokenOption, TimeSpan lifetime, int bcryptCost, bool usesCertificates)
    {
        string[] parts = tokenOption.Split(',');
        Dictionary<string, string> options = new(StringComparer.Ordinal);
        foreach (string part in parts.Skip(1))
        {
            string[] pair = part.Split('=');
            if (pair.Length != 2 || !options.TryAdd(pair[0], pair[1]))
            {
                throw new FlagException("auth: invalid auth options");
            }
        }

        AuthSettings settings = new()
        {
            SimpleTokenLifetime = lifetime > TimeSpan.Zero ? lifetime : TimeSpan.FromSeconds(300),

            // etcd: NewAuthStore: a cost that bcrypt does not have becomes the usual one.
            BcryptCost = bcryptCost is >= BcryptCostMin and <= BcryptCostMax ? bcryptCost : BcryptCostDefault,
            UsesCertificates = usesCertificates,
        };
        return parts[0] switch
        {
            "simple" => settings,
            "" => settings with { Tokens = TokenKind.None },
            "jwt" => settings with { Tokens = TokenKind.Jwt, Jwt = JwtTokens.Load(options) },
            _ => throw new FlagException("auth: invalid auth options"),
        };
    }
}

/// <summary>What a client gets for its password.</summary>
internal enum TokenKind
{
    /// <summary>Nothing: passwords are of no use.</summary>
    None,
    Simple,
    Jwt,
}
