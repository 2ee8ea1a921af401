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
    private readonly X509Certificate2 _certificate;
    private readonly X509Certificate2Collection _authorities = [];
    private readonly bool _demandsClient;
    private readonly TlsRules _rules;
    private readonly bool _isSelfSigned;
    private CertificateRevocationListBuilder? _revoked;

    private TlsSettings(X509Certificate2 certificate, bool demandsClient, ServerTls files)
    {
        _isSelfSigned = files.IsSelfSigned;
        _certificate = certificate;
        _demandsClient = demandsClient;
        _rules = files.Rules;
    }

    /// <summary>Null when no certificate was named.</summary>
    /// <exception cref="FlagException">The files do not go together.</exception>
    public static TlsSettings? Load(ServerTls files)
    {
        if (files.CertFile.Length == 0 && files.KeyFile.Length == 0)
        {
            return null;
        }

        if (files.CertFile.Length == 0 || files.KeyFile.Length == 0)
        {
            throw new FlagException("KeyFile and CertFile must both be present[key: " + files.KeyFile + ", cert: " + files.CertFile + "]");
        }

        if (files.ClientCertAuth && files.TrustedCaFile.Length == 0)
        {
            throw new FlagException("--client-cert-auth needs --trusted-ca-file: who may sign the clients' certificates?");
        }

        string reading = files.CertFile;
        try
        {
            TlsSettings settings = new(X509Certificate2.CreateFromPemFile(files.CertFile, files.KeyFile), files.ClientCertAuth || files.TrustedCaFile.Length > 0, files);
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
            string missing = new[] { files.CertFile, files.KeyFile, files.TrustedCaFile, files.CrlFile }.First(static f => f.Length > 0 && !File.Exists(f));
            throw new FlagException($"open {missing}: no such file or directory");
        }
        catch (CryptographicException e)
        {
            throw new FlagException($"cannot read the certificate or key in {reading}: {e.Message}");
        }
    }

    public void Configure(HttpsConnectionAdapterOptions https)
    {
        https.ServerCertificate = _certificate;
        https.SslProtocols = _rules.Protocols;
        https.OnAuthenticate = (_, options) => options.CipherSuitesPolicy = _rules.Policy();
        https.ClientCertificateMode = _demandsClient ? ClientCertificateMode.RequireCertificate : ClientCertificateMode.NoCertificate;
        https.ClientCertificateValidation = (certificate, _, errors) => IsTrusted(certificate, errors);
    }

    public X509Certificate2 Certificate => _certificate;

    /// <summary>For the other direction: the certificate of a member we call. Without an authority of our own the machine's decide.</summary>
    public bool IsTrustedServer(X509Certificate2 certificate, SslPolicyErrors errors)
    {
        if (_isSelfSigned)
        {
            return true; // Nobody's certificate says more than that there is one.
        }

        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch) || _authorities.Count == 0)
        {
            return errors == SslPolicyErrors.None;
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
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable) || IsRevoked(certificate))
        {
            return false;
        }

        using X509Chain chain = new();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(_authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(usage));
        return chain.Build(certificate);
    }
}
