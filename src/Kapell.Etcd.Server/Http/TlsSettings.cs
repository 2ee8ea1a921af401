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
    private CertificateRevocationListBuilder? _revoked;

    private TlsSettings(ServerTls files)
    {
        _files = files;
        _shown = new CertificateFile(files.CertFile, files.KeyFile);
        _calling = files.ClientCertFile.Length > 0 ? new CertificateFile(files.ClientCertFile, files.ClientKeyFile) : _shown;
        _demandsClient = files.ClientCertAuth || files.TrustedCaFile.Length > 0;
    }

    /// <summary>Is told of each certificate that is not believed: its subject and why.</summary>
    public Action<string, string>? Refused { get; set; }

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

            if (files.CrlFile.Length > 0)
            {
                reading = files.CrlFile;
                settings._revoked = ReadRevoked(files.CrlFile);
            }

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
        https.OnAuthenticate = (_, options) => options.CipherSuitesPolicy = _files.Rules.Policy();
        https.ClientCertificateMode = _demandsClient ? ClientCertificateMode.RequireCertificate : ClientCertificateMode.NoCertificate;
        https.ClientCertificateValidation = (certificate, _, errors) => IsTrusted(certificate, errors);
    }

    /// <summary>What is shown to members that are called; read again when its file has changed.</summary>
    public X509Certificate2 ClientCertificate => _calling.Current;

    /// <summary>For the other direction: the certificate of a member we call. Without an authority of our own the machine's decide.</summary>
    public bool IsTrustedServer(X509Certificate2 certificate, SslPolicyErrors errors)
    {
        if (_files.IsSelfSigned)
        {
            return true; // Nobody's certificate says more than that there is one.
        }

        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch) || _authorities.Count == 0)
        {
            return Told(certificate, errors == SslPolicyErrors.None ? null : errors.ToString()) && HasAllowedName(certificate);
        }

        return IsTrusted(certificate, errors, ServerAuthUsage);
    }

    // etcd: listener_tls.go checkCRL: by serial number alone.
    private bool IsRevoked(X509Certificate2 certificate)
    {
        if (_revoked is not { } list)
        {
            return false;
        }

        lock (list)
        {
            // The one way to ask this type whether it holds a number.
            byte[] serial = certificate.SerialNumberBytes.ToArray();
            bool held = list.RemoveEntry(serial);
            if (held)
            {
                list.AddEntry(serial);
            }

            return held;
        }
    }

    private static CertificateRevocationListBuilder ReadRevoked(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        bool pem = bytes.AsSpan().IndexOf("-----BEGIN"u8) >= 0;
        return pem
            ? CertificateRevocationListBuilder.LoadPem(System.Text.Encoding.ASCII.GetString(bytes), out _)
            : CertificateRevocationListBuilder.Load(bytes, out _);
    }

    private bool IsTrusted(X509Certificate2 certificate, SslPolicyErrors errors, string usage = ClientAuthUsage)
    {
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable))
        {
            return false;
        }

        if (IsRevoked(certificate))
        {
            return Told(certificate, "it is revoked");
        }

        using X509Chain chain = new();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(_authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(usage));
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

/// <summary>A certificate and its key in files, read again when they have changed: certificates are renewed while a member runs.</summary>
internal sealed class CertificateFile(string certFile, string keyFile)
{
    private readonly Lock _gate = new();
    private (DateTime Cert, DateTime Key) _stamp;
    private X509Certificate2? _current;

    /// <summary>The newest that could be read.</summary>
    public X509Certificate2 Current
    {
        get
        {
            lock (_gate)
            {
                try
                {
                    Read();
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException && _current is not null)
                {
                    // Half written, or being exchanged: the one before is still good, and the next connection looks again.
                    return _current;
                }

                return _current!;
            }
        }
    }

    /// <exception cref="CryptographicException">They are no certificate and key, or do not go together.</exception>
    /// <exception cref="IOException">A file is not there.</exception>
    public void Read()
    {
        (DateTime, DateTime) stamp = (File.GetLastWriteTimeUtc(certFile), File.GetLastWriteTimeUtc(keyFile));
        if (_current is null || stamp != _stamp)
        {
            _current = X509Certificate2.CreateFromPemFile(certFile, keyFile);
            _stamp = stamp;
        }
    }
}
