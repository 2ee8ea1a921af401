using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;
using Kapell.Etcd.Server.Http;
using Xunit;

namespace Kapell.Etcd.Tests.Http;

public sealed class CertificateNamesTests
{
    private const string CommonName = "2.5.4.3";
    private const string Unit = "2.5.4.11";

    [Fact]
    public void A_subject_without_a_common_name_names_nobody() => Assert.Equal("", CertificateNames.CommonName(Subject([(Unit, "etcd")])));

    [Fact]
    public void It_is_the_common_name_wherever_it_stands()
    {
        Assert.Equal("a", CertificateNames.CommonName(Subject([(CommonName, "a")], [(Unit, "etcd")])));
        Assert.Equal("a", CertificateNames.CommonName(Subject([(Unit, "etcd")], [(CommonName, "a")])));
        Assert.Equal("a", CertificateNames.CommonName(Subject([(CommonName, "a"), (Unit, "etcd")])));
    }

    [Fact]
    public void Of_several_it_is_the_last() => Assert.Equal("b", CertificateNames.CommonName(Subject([(CommonName, "a")], [(CommonName, "b")])));

    [Fact]
    public void What_is_no_text_names_nobody()
    {
        AsnWriter writer = new(AsnEncodingRules.DER);
        using (writer.PushSequence())
        using (writer.PushSetOf())
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(CommonName);
            writer.WriteInteger(7);
        }

        Assert.Equal("", CertificateNames.CommonName(new X500DistinguishedName(writer.Encode())));
    }

    private static X500DistinguishedName Subject(params (string Type, string Value)[][] sets)
    {
        AsnWriter writer = new(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            foreach ((string Type, string Value)[] set in sets)
            {
                using (writer.PushSetOf())
                {
                    foreach ((string type, string value) in set)
                    {
                        using (writer.PushSequence())
                        {
                            writer.WriteObjectIdentifier(type);
                            writer.WriteCharacterString(UniversalTagNumber.UTF8String, value);
                        }
                    }
                }
            }
        }

        return new X500DistinguishedName(writer.Encode());
    }
}
