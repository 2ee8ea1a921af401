using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;
using Kapell.Base;
using Xunit;

namespace Kapell.Etcd.Tests.Http;

public sealed class CertificateSubjectTests
{
    private const string CommonName = "2.5.4.3";
    private const string Organization = "2.5.4.10";
    private const string Unit = "2.5.4.11";

    [Fact]
    public void A_subject_without_a_common_name_names_nobody() => Assert.Equal("", CertificateSubject.Of(Subject([(Unit, "etcd")])).CommonName);

    [Fact]
    public void It_is_the_common_name_wherever_it_stands()
    {
        Assert.Equal("a", CertificateSubject.Of(Subject([(CommonName, "a")], [(Unit, "etcd")])).CommonName);
        Assert.Equal("a", CertificateSubject.Of(Subject([(Unit, "etcd")], [(CommonName, "a")])).CommonName);
        Assert.Equal("a", CertificateSubject.Of(Subject([(CommonName, "a"), (Unit, "etcd")])).CommonName);
    }

    [Fact]
    public void Of_several_it_is_the_last() => Assert.Equal("b", CertificateSubject.Of(Subject([(CommonName, "a")], [(CommonName, "b")])).CommonName);

    [Fact]
    public void Organizations_are_all_there_in_order() => Assert.Equal(
        ["o1", "o2", "o3"], CertificateSubject.Of(Subject([(Organization, "o1"), (CommonName, "a")], [(Organization, "o2")], [(Organization, "o3")])).Organizations);

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

        Assert.Equal("", CertificateSubject.Of(new X500DistinguishedName(writer.Encode())).CommonName);
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
