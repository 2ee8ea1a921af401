using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;

namespace Kapell.Etcd.Server.Http;

/// <summary>Who a certificate says that its owner is.</summary>
internal static class CertificateNames
{
    private const string CommonNameOid = "2.5.4.3";

    /// <summary>
    /// The CommonName of the subject, the last if there are several; empty when there is none. The platform's own answer is another attribute
    /// then, such as the organization's unit, which nobody has vouched for as a name. Go: crypto/x509/pkix Name.FillFromRDNSequence
    /// </summary>
    public static string CommonName(X509Certificate2 certificate) => CommonName(certificate.SubjectName);

    /// <inheritdoc cref="CommonName(X509Certificate2)"/>
    public static string CommonName(X500DistinguishedName subject)
    {
        string name = "";
        try
        {
            AsnReader sets = new AsnReader(subject.RawData, AsnEncodingRules.DER).ReadSequence();
            while (sets.HasData)
            {
                AsnReader set = sets.ReadSetOf(skipSortOrderValidation: true);
                while (set.HasData)
                {
                    AsnReader pair = set.ReadSequence();
                    if (pair.ReadObjectIdentifier() == CommonNameOid)
                    {
                        name = pair.ReadCharacterString((UniversalTagNumber)pair.PeekTag().TagValue);
                    }
                }
            }
        }
        catch (Exception e) when (e is AsnContentException or ArgumentException)
        {
            // What is no name names nobody.
            return "";
        }

        return name;
    }
}
