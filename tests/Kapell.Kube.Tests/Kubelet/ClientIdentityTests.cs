using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kapell.Kubelet.Server;
using Xunit;

namespace Kapell.Kube.Tests.Kubelet;

public sealed class ClientIdentityTests
{
    [Fact]
    public void Who_shows_no_certificate_or_one_without_a_name_is_nobody()
    {
        Assert.Equal("system:anonymous: system:unauthenticated", Told(ClientIdentity.Of(null)));
        Assert.Equal("system:anonymous: system:unauthenticated", Of("O=system:masters"));
    }

    [Fact]
    public void A_certificate_names_its_user_and_groups() => Assert.Equal("kube: a b system:authenticated", Of("O=a, CN=kube, O=b"));

    private static string Of(string subject)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        X500DistinguishedName name = new(subject, X500DistinguishedNameFlags.Reversed);
        using X509Certificate2 certificate = new CertificateRequest(name, key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1));
        return Told(ClientIdentity.Of(certificate));
    }

    private static string Told(ClientIdentity identity) => $"{identity.User}: {string.Join(' ', identity.Groups.Order(StringComparer.Ordinal))}";
}
