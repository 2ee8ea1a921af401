using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Kapell.Client;

/// <summary>The connection to one API server: TLS, credentials, HTTP/2. Adds nothing to a request but who we are.</summary>
internal static class Transport
{
    /// <summary>The real handler: HTTP/2 where TLS offers it, more connections when one is full of watches, pings that find dead peers.</summary>
    public static HttpMessageHandler Open(RestConfig config)
    {
        SslClientAuthenticationOptions tls = new() { ApplicationProtocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11] };
        if (config.Authorities is { } authorities)
        {
            tls.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck,
                VerificationFlags = X509VerificationFlags.NoFlag, DisableCertificateDownloads = true,
            };
            tls.CertificateChainPolicy.CustomTrustStore.AddRange(authorities);
        }

        if (config.InsecureSkipTlsVerify)
        {
#pragma warning disable CA5359 // The operator asked for exactly this with insecure-skip-tls-verify.
            tls.RemoteCertificateValidationCallback = (_, _, _, _) => true;
#pragma warning restore CA5359
        }
        else if (config.TlsServerName.Length > 0)
        {
            tls.RemoteCertificateValidationCallback = (_, certificate, _, errors) =>
                (errors & ~SslPolicyErrors.RemoteCertificateNameMismatch) == SslPolicyErrors.None
                && certificate is X509Certificate2 full && full.MatchesHostname(config.TlsServerName);
        }

        if (config.ClientCertificate is { } own)
        {
            tls.ClientCertificates = [own];
            tls.LocalCertificateSelectionCallback = (_, _, _, _, _) => own;
        }

        return new SocketsHttpHandler
        {
            SslOptions = tls, EnableMultipleHttp2Connections = true, UseProxy = false, AllowAutoRedirect = false, UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None, KeepAlivePingDelay = TimeSpan.FromSeconds(30),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(15), KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            ConnectTimeout = TimeSpan.FromSeconds(30), PooledConnectionIdleTimeout = TimeSpan.FromSeconds(90),
        };
    }
}

/// <summary>The Authorization header of a configuration; a token file is read again every minute, as client-go does.</summary>
internal sealed class Credentials(RestConfig config, TimeProvider time)
{
    private static readonly TimeSpan TokenFilePeriod = TimeSpan.FromMinutes(1);
    private readonly Lock _gate = new();
    private string _token = config.BearerToken;
    private long _readAt;
    private bool _read;

    public AuthenticationHeaderValue? Header()
    {
        if (config.BearerTokenSource is { } source)
        {
            return new AuthenticationHeaderValue("Bearer", source());
        }

        if (config.BearerTokenFile.Length > 0)
        {
            ReadTokenFile();
        }

        if (_token.Length > 0)
        {
            return new AuthenticationHeaderValue("Bearer", _token);
        }

        return config.Username.Length == 0 ? null : new AuthenticationHeaderValue(
            "Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(config.Username + ":" + config.Password)));
    }

    private void ReadTokenFile()
    {
        lock (_gate)
        {
            if (_read && time.GetElapsedTime(_readAt) < TokenFilePeriod)
            {
                return;
            }

            try
            {
                _token = File.ReadAllText(config.BearerTokenFile).Trim();
            }
            catch (Exception e) when (_read && e is IOException or UnauthorizedAccessException)
            {
                // The last token may still be valid: keep it, and try the file again at the next period.
            }

            _read = true;
            _readAt = time.GetTimestamp();
        }
    }
}

/// <summary>A token bucket over request starts (client-go: flowcontrol.NewTokenBucketRateLimiter). Waiting is in arrival order.</summary>
internal sealed class RequestLimiter(double qps, int burst, TimeProvider time)
{
    private readonly Lock _gate = new();
    private double _tokens = burst;
    private long _last = time.GetTimestamp();

    public Task WaitAsync(CancellationToken cancellation)
    {
        TimeSpan wait;
        lock (_gate)
        {
            long now = time.GetTimestamp();
            _tokens = Math.Min(burst, _tokens + (time.GetElapsedTime(_last, now).TotalSeconds * qps));
            _last = now;
            _tokens -= 1;
            wait = _tokens >= 0 ? TimeSpan.Zero : TimeSpan.FromSeconds(-_tokens / qps);
        }

        return wait == TimeSpan.Zero ? Task.CompletedTask : Task.Delay(wait, time, cancellation);
    }
}
