using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kapell.Base;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace Kapell.Etcd.Server.Http;

/// <summary>The server's certificate, and who may sign the clients'.</summary>
internal sealed class TlsSettings
{
    private const string ClientAuthUsage = "1.3.6.1.5.5.7.3.2";
    private const string ServerAuthUsage = "1.3.6.1.5.5.7.3.1";
    private readonly ServerTls _files;
    private readonly CertificateFile _shown;
    private readonly CertificateFile _calling;
    private readonly X509Certificate2Collection _authorities = [];
    private readonly bool _demandsClient;
    private readonly RevocationList? _revoked;

    private TlsSettings(ServerTls files)
    {
        _files = files;
        _shown = new CertificateFile(files.CertFile, files.KeyFile);
        _calling = files.ClientCertFile.Length > 0 ? new CertificateFile(files.ClientCertFile, files.ClientKeyFile) : _shown;
        _demandsClient = files.ClientCertAuth || files.TrustedCaFile.Length > 0;
        _revoked = files.CrlFile.Length > 0 ? new RevocationList(files.CrlFile) : null;
    }

    /// <summary>Is told of each certificate that is not believed: its subject and why.</summary>
    public Action<string, string>? Refused { get; set; }

    /// <summary>Is told of certificates of our own that were changed and cannot be read: the file and why.</summary>
    public Action<string, string>? Unreadable
    {
        set => _shown.Unreadable = _calling.Unreadable = value;
    }

    /// <summary>Null when no certificate was named.</summary>
    /// <exception cref="FlagException">The files do not go together.</exception>
    public static TlsSettings? Load(ServerTls files)
    {
        if (files.CertFile.Length == 0 && files.KeyFile.Length == 0)
        {
            return null;
        }

        CheckPairs(files);
        string reading = files.CertFile;
        try
        {
            TlsSettings settings = new(files);
            settings._shown.Read();
            reading = files.ClientCertFile;
            settings._calling.Read();
            if (files.TrustedCaFile.Length > 0)
            {
                reading = files.TrustedCaFile;
                settings._authorities.ImportFromPemFile(files.TrustedCaFile);
            }

            reading = files.CrlFile;
            settings._revoked?.Read();
            return settings;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            string[] all = [files.CertFile, files.KeyFile, files.TrustedCaFile, files.CrlFile, files.ClientCertFile, files.ClientKeyFile];
            string missing = all.First(static f => f.Length > 0 && !File.Exists(f));
            throw new FlagException($"open {missing}: no such file or directory");
        }
        catch (CryptographicException e)
        {
            throw new FlagException($"cannot read the certificate or key in {reading}: {e.Message}");
        }
    }

    private static void CheckPairs(ServerTls files)
    {
        if (files.CertFile.Length == 0 || files.KeyFile.Length == 0)
        {
            throw new FlagException("KeyFile and CertFile must both be present[key: " + files.KeyFile + ", cert: " + files.CertFile + "]");
        }

        if (files.ClientCertFile.Length == 0 != (files.ClientKeyFile.Length == 0))
        {
            throw new FlagException("ClientKeyFile and ClientCertFile must both be present or both absent: key: " + files.ClientKeyFile + ", cert: " + files.ClientCertFile + "]");
        }

        if (files.ClientCertAuth && files.TrustedCaFile.Length == 0)
        {
            throw new FlagException("--client-cert-auth needs --trusted-ca-file: who may sign the clients' certificates?");
        }

        if (files.AllowedCommonNames.Count > 0 && files.AllowedHostNames.Count > 0)
        {
            throw new FlagException("AllowedCN and AllowedHostname are mutually exclusive");
        }
    }

    public void Configure(HttpsConnectionAdapterOptions https)
    {
        https.ServerCertificateSelector = (_, _) => _shown.Current;
        https.SslProtocols = _files.Rules.Protocols;
        https.OnAuthenticate = (_, options) =>
        {
            options.CipherSuitesPolicy = _files.Rules.Policy();

            // The selector above can only show the certificate itself; who knows the root alone needs those between.
            options.ServerCertificateSelectionCallback = null;
            options.ServerCertificateContext = _shown.Chain;
        };
        https.ClientCertificateMode = _demandsClient ? ClientCertificateMode.RequireCertificate : ClientCertificateMode.NoCertificate;
        https.ClientCertificateValidation = (certificate, sent, errors) => IsTrusted(certificate, sent, errors);
    }

    /// <summary>What is shown to members that are called; another object when its file has changed.</summary>
    public SslStreamCertificateContext ClientCertificate => _calling.Chain;

    /// <summary>For the other direction: the certificate of a member we call. Without an authority of our own the machine's decide.</summary>
    public bool IsTrustedServer(X509Certificate2 certificate, X509Chain? sent, SslPolicyErrors errors)
    {
        if (_files.IsSelfSigned)
        {
            return true; // Nobody's certificate says more than that there is one.
        }

        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch) || _authorities.Count == 0)
        {
            return Told(certificate, errors == SslPolicyErrors.None ? null : errors.ToString()) && HasAllowedName(certificate);
        }

        return IsTrusted(certificate, sent, errors, ServerAuthUsage);
    }

    /// <param name="sent">With what else the other side showed.</param>
    private bool IsTrusted(X509Certificate2 certificate, X509Chain? sent, SslPolicyErrors errors, string usage = ClientAuthUsage)
    {
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable))
        {
            return false;
        }

        X509Certificate2Collection between = sent?.ChainPolicy.ExtraStore ?? [];
        if (_revoked?.Objection([certificate, .. between]) is { } objection)
        {
            return Told(certificate, objection);
        }

        using X509Chain chain = new();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(_authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(usage));
        chain.ChainPolicy.ExtraStore.AddRange(between);
        return Told(certificate, chain.Build(certificate) ? null : string.Join(", ", chain.ChainStatus.Select(static s => s.Status)))
            && HasAllowedName(certificate);
    }

    // etcd: client/pkg/transport/listener.go baseConfig: of callers and of those that are called.
    private bool HasAllowedName(X509Certificate2 certificate)
    {
        if (_files.AllowedCommonNames.Count > 0)
        {
            string name = CertificateSubject.Of(certificate).CommonName;
            return Told(certificate, _files.AllowedCommonNames.Contains(name) ? null : $"CommonName \"{name}\" is none of those allowed");
        }

        return _files.AllowedHostNames.Count == 0
            || Told(certificate, _files.AllowedHostNames.Any(host => certificate.MatchesHostname(host)) ? null : "it is good for none of the allowed host names");
    }

    private bool Told(X509Certificate2 certificate, string? reason)
    {
        if (reason is not null)
        {
            Refused?.Invoke(certificate.Subject, reason);
        }

        return reason is null;
    }
}
