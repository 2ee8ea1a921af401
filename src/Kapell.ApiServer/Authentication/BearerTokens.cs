using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Kapell.ApiServer.Http;

namespace Kapell.ApiServer.Authentication;

/// <summary>Who a bearer token is: service account tokens, bootstrap tokens, static tokens. Used by requests and by TokenReview.</summary>
internal sealed class BearerTokens(
    ServiceAccountTokens accounts, BootstrapTokens? bootstrap, StaticTokens? fixedTokens, TimeProvider time)
{
    private const int CacheEntriesMax = 10_000;

    /// <summary>Upstream keeps successes for ten seconds (cached_token_authenticator.go); a deleted pod's token dies within that.</summary>
    private static readonly TimeSpan Kept = TimeSpan.FromSeconds(10);

    private readonly ConcurrentDictionary<string, (AuthenticationResult Result, long Until)> _verdicts = new(StringComparer.Ordinal);

    public ServiceAccountTokens Accounts => accounts;

    public async ValueTask<AuthenticationResult> AuthenticateAsync(string token, IReadOnlyList<string> audiences, CancellationToken cancel)
    {
        string key = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(token))) + ' ' + string.Join(' ', audiences);
        long now = time.GetTimestamp();
        if (_verdicts.TryGetValue(key, out (AuthenticationResult Result, long Until) known) && now < known.Until)
        {
            return known.Result;
        }

        AuthenticationResult result = await JudgeAsync(token, audiences, cancel);
        if (result.User is null)
        {
            _verdicts.TryRemove(key, out _);
            return result;
        }

        if (_verdicts.Count >= CacheEntriesMax)
        {
            DropOld(now);
        }

        _verdicts[key] = (result, now + (long)(Kept.TotalSeconds * time.TimestampFrequency));
        return result;
    }

    private async ValueTask<AuthenticationResult> JudgeAsync(string token, IReadOnlyList<string> audiences, CancellationToken cancel)
    {
        if (Jwt.TryParse(token) is { } jwt && accounts.IsOurs(jwt))
        {
            return accounts.Fault(jwt, audiences) is { } fault ? AuthenticationResult.Fail(fault) : await accounts.UserOfAsync(jwt, cancel);
        }

        // Static and bootstrap tokens are for this server only.
        if (!audiences.Any(accounts.ApiAudiences.Contains) && accounts.ApiAudiences.Count > 0)
        {
            return AuthenticationResult.Fail("token is not for the audiences");
        }

        if (fixedTokens?.Find(token) is { } user)
        {
            return AuthenticationResult.Of(user);
        }

        return bootstrap is null ? AuthenticationResult.Fail("unknown token") : await bootstrap.AuthenticateAsync(token, cancel);
    }

    private void DropOld(long now)
    {
        foreach ((string key, (AuthenticationResult Result, long Until) verdict) in _verdicts)
        {
            if (now >= verdict.Until)
            {
                _verdicts.TryRemove(key, out _);
            }
        }

        if (_verdicts.Count >= CacheEntriesMax)
        {
            _verdicts.Clear();
        }
    }
}

/// <summary>--token-auth-file: lines of <c>token,user,uid,"group1,group2"</c>.</summary>
internal sealed class StaticTokens
{
    private readonly Dictionary<string, UserInfo> _byDigest = new(StringComparer.Ordinal);

    public StaticTokens(IEnumerable<string> lines)
    {
        foreach (string line in lines.Where(l => l.Trim().Length > 0 && l[0] != '#'))
        {
            string[] fields = line.Split(',', 4);
            if (fields.Length < 3)
            {
                throw new FormatException($"token file must have at least 3 columns (token, user name, user uid), found {fields.Length}");
            }

            string[] groups = fields.Length == 4 ? fields[3].Trim().Trim('"').Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) : [];
            _byDigest[Digest(fields[0].Trim())] = new UserInfo { Name = fields[1].Trim(), Uid = fields[2].Trim(), Groups = groups };
        }
    }

    // Found by digest, so that the time of a look-up tells nothing about a token.
    public UserInfo? Find(string token) => _byDigest.GetValueOrDefault(Digest(token));

    private static string Digest(string token) => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(token)));
}
