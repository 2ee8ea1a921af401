using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;

namespace Kapell.Base;

/// <summary>
/// Who a certificate says that its owner is. The platform's own answer, where there is no CommonName, is another attribute, such as the
/// organization's unit, which nobody has vouched for as a name. Source: Go, crypto/x509/pkix Name.FillFromRDNSequence
/// </summary>
/// <param name="CommonName">The last if there are several; empty when there is none, or when the subject cannot be read.</param>
/// <param name="Organizations">All, in order; none when the subject cannot be read.</param>
public sealed record CertificateSubject(string CommonName, IReadOnlyList<string> Organizations)
{
    private const string CommonNameOid = "2.5.4.3";
    private const string OrganizationOid = "2.5.4.10";

    public static CertificateSubject Of(X509Certificate2 certificate) => Of(certificate.SubjectName);

    /// <inheritdoc cref="Of(X509Certificate2)"/>
    public static CertificateSubject Of(X500DistinguishedName subject)
    {
        string name = "";
        List<string> organizations = [];
        try
        {
            AsnReader sets = new AsnReader(subject.RawData, AsnEncodingRules.DER).ReadSequence();
            while (sets.HasData)
            {
                AsnReader set = sets.ReadSetOf(skipSortOrderValidation: true);
                while (set.HasData)
                {
                    AsnReader pair = set.ReadSequence();
                    switch (pair.ReadObjectIdentifier())
                    {
                        case CommonNameOid: name = Text(pair); break;
                        case OrganizationOid: organizations.Add(Text(pair)); break;
                        default: break;
                    }
                }
            }
        }
        catch (Exception e) when (e is AsnContentException or ArgumentException)
        {
            // What is no name names nobody.
            return new CertificateSubject("", []);
        }

        return new CertificateSubject(name, organizations);
    }

    private static string Text(AsnReader pair) => pair.ReadCharacterString((UniversalTagNumber)pair.PeekTag().TagValue);
}
