namespace Kapell.Etcd.Server.Replication;

/// <summary>
/// Tokens that mean nothing by themselves. Each member hears of every token through the log and keeps it for as long as it is used here;
/// they are in no checkpoint. etcd: auth/simple_token.go
/// </summary>
public sealed class SimpleTokens
{
    private const long SweepMilliseconds = 1000;

    private readonly Lock _lock = new(); // Guards all below.
    private readonly Dictionary<string, (string User, long UsedAt)> _tokens = new(StringComparer.Ordinal);
    private long _sweptAt;

    /// <summary>How long a token is good after its last use.</summary>
    public TimeSpan Lifetime { get; set; } = TimeSpan.FromSeconds(300);

    public void Grant(string token, string user, long now)
    {
        lock (_lock)
        {
            if (now - _sweptAt >= SweepMilliseconds)
            {
                _sweptAt = now;
                Remove(entry => IsOver(entry.UsedAt, now));
            }

            _tokens[token] = (user, now);
        }
    }

    /// <summary>Whose it is, or null; counts as a use.</summary>
    public string? Find(string token, long now)
    {
        lock (_lock)
        {
            if (!_tokens.TryGetValue(token, out (string User, long UsedAt) entry) || IsOver(entry.UsedAt, now))
            {
                return null;
            }

            _tokens[token] = (entry.User, now);
            return entry.User;
        }
    }

    public void Forget(string user)
    {
        lock (_lock)
        {
            Remove(entry => entry.User == user);
        }
    }

    public void Clear()
    {
        lock (_lock)
        {
            _tokens.Clear();
        }
    }

    private bool IsOver(long usedAt, long now) => now - usedAt > Lifetime.TotalMilliseconds;

    private void Remove(Predicate<(string User, long UsedAt)> which)
    {
        foreach (string token in _tokens.Where(t => which(t.Value)).Select(static t => t.Key).ToArray())
        {
            _tokens.Remove(token);
        }
    }
}
