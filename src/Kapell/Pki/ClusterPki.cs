using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Kapell.Cli.Up;

namespace Kapell.Cli.Pki;

/// <summary>
/// The certificates of one cluster, in <c>DIR/pki</c>, made once, kept, and made again when a name is missing or less than 30 days
/// are left. Two authorities: the store's own, so that nobody but the API server reaches the store, and the cluster's.
/// </summary>
internal sealed class ClusterPki(ClusterLayout layout, TimeProvider time)
{
    private static readonly TimeSpan RenewBefore = TimeSpan.FromDays(30);

    /// <returns>How many certificates were made.</returns>
    /// <exception cref="UpException">A file is damaged; says which and what to do.</exception>
    public int Ensure(string nodeName, string nodeAddress, string serviceAddress)
    {
        Directory.CreateDirectory(layout.Pki);
        int made = 0;
        using CertificateAuthority cluster = EnsureAuthority("ca", "kapell-ca", ref made);
        using CertificateAuthority store = EnsureAuthority("etcd-ca", "kapell-etcd-ca", ref made);
        string[] local = ["localhost", nodeName, "127.0.0.1", "::1", nodeAddress];
        made += EnsureLeaf(store, "etcd-server", new("etcd", "", local));
        made += EnsureLeaf(store, "apiserver-etcd-client", new("kube-apiserver-etcd-client", "", []));
        string[] service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", serviceAddress];
        made += EnsureLeaf(cluster, "apiserver", new("kube-apiserver", "", [.. local, .. service]));
        made += EnsureLeaf(cluster, "apiserver-kubelet-client", new("kube-apiserver-kubelet-client", "system:masters", []));
        made += EnsureLeaf(cluster, "kubelet", new("system:node:" + nodeName, "system:nodes", local));
        made += EnsureLeaf(cluster, "scheduler", new("system:kube-scheduler", "", []));
        made += EnsureLeaf(cluster, "controller-manager", new("system:kube-controller-manager", "", []));
        made += EnsureLeaf(cluster, "admin", new("kubernetes-admin", "system:masters", []));
        if (!File.Exists(layout.PkiFile("sa.key")))
        {
            using RSA key = RSA.Create(2048);
            Write("sa.key", key.ExportPkcs8PrivateKeyPem() + "\n");
            Write("sa.pub", key.ExportSubjectPublicKeyInfoPem() + "\n");
            made++;
        }

        return made;
    }

    /// <summary>A kubeconfig with everything inside, so that it can be copied.</summary>
    public string Kubeconfig(string user, string certificate, string server)
    {
        string Data(string name) => Convert.ToBase64String(File.ReadAllBytes(layout.PkiFile(name)));
        return $"""
            apiVersion: v1
            kind: Config
            current-context: kapell
            clusters:
            - name: kapell
              cluster:
                server: {server}
                certificate-authority-data: {Data("ca.crt")}
            contexts:
            - name: kapell
              context:
                cluster: kapell
                user: {user}
            users:
            - name: {user}
              user:
                client-certificate-data: {Data(certificate + ".crt")}
                client-key-data: {Data(certificate + ".key")}

            """;
    }

    private CertificateAuthority EnsureAuthority(string name, string commonName, ref int made)
    {
        string certificate = layout.PkiFile(name + ".crt");
        string key = layout.PkiFile(name + ".key");
        if (File.Exists(certificate) && File.Exists(key))
        {
            try
            {
                return CertificateAuthority.Load(File.ReadAllText(certificate), File.ReadAllText(key), time);
            }
            catch (Exception e) when (e is CryptographicException or ArgumentException)
            {
                throw new UpException($"the certificate authority in {certificate} or its key cannot be read: {e.Message}",
                    $"put back both files from a copy, or remove {layout.Pki} to make new certificates (existing kubeconfigs and pods' tokens end with it)");
            }
        }

        CertificateAuthority fresh = CertificateAuthority.Create(commonName, time);
        Write(name + ".key", fresh.KeyPem);
        Write(name + ".crt", fresh.CertificatePem);
        made++;
        return fresh;
    }

    private int EnsureLeaf(CertificateAuthority authority, string name, CertificateRequestFacts facts)
    {
        string file = layout.PkiFile(name + ".crt");
        if (File.Exists(file) && File.Exists(layout.PkiFile(name + ".key")) && StillGood(file, authority, facts))
        {
            return 0;
        }

        (string certificate, string key) = authority.Issue(facts);
        Write(name + ".key", key);
        Write(name + ".crt", certificate);
        return 1;
    }

    private bool StillGood(string file, CertificateAuthority authority, CertificateRequestFacts facts)
    {
        try
        {
            using X509Certificate2 leaf = X509Certificate2.CreateFromPem(File.ReadAllText(file));
            using X509Certificate2 issuer = X509Certificate2.CreateFromPem(authority.CertificatePem);
            X509SubjectAlternativeNameExtension? names = leaf.Extensions.OfType<X509SubjectAlternativeNameExtension>().FirstOrDefault();
            HashSet<string> have = [.. names?.EnumerateDnsNames() ?? [], .. (names?.EnumerateIPAddresses() ?? []).Select(a => a.ToString())];
            byte[]? identifier = leaf.Extensions.OfType<X509AuthorityKeyIdentifierExtension>().FirstOrDefault()?.KeyIdentifier?.ToArray();
            byte[] wanted = Convert.FromHexString(issuer.Extensions.OfType<X509SubjectKeyIdentifierExtension>().First().SubjectKeyIdentifier!);
            return leaf.NotAfter.ToUniversalTime() > (time.GetUtcNow() + RenewBefore).UtcDateTime
                && identifier is not null && identifier.AsSpan().SequenceEqual(wanted)
                && leaf.GetNameInfo(X509NameType.SimpleName, false) == facts.CommonName
                && facts.AlternativeNames.All(n => have.Contains(n));
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            // A damaged leaf is made again: nothing hangs on its identity.
            return false;
        }
    }

    private void Write(string name, string content) => PrivateFile.Write(layout.PkiFile(name), Encoding.UTF8.GetBytes(content));
}
