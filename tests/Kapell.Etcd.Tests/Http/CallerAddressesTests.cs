using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kapell.Etcd.Server.Http;
using Kapell.Etcd.Server.Peers;
using Xunit;

namespace Kapell.Etcd.Tests.Http;

public sealed class CallerAddressesTests
{
    private static readonly Dictionary<string, string> Hosts = new(StringComparer.Ordinal) { ["a.example"] = "10.0.0.1", ["b.example"] = "10.0.0.2" };

    [Theory]
    [InlineData("", "10.0.0.9", null)]
    [InlineData("10.0.0.1", "10.0.0.1", null)]
    [InlineData("10.0.0.1", "::ffff:10.0.0.1", null)]
    [InlineData("10.0.0.1 10.0.0.2", "10.0.0.3", "x509: certificate is valid for 10.0.0.1, 10.0.0.2, not 10.0.0.3")]
    [InlineData("10.0.0.1 b.example", "10.0.0.2", null)]
    [InlineData("a.example b.example", "10.0.0.2", null)]
    [InlineData("*.example", "10.0.0.2", null)]
    [InlineData("*.other", "10.0.0.2", "tls: \"10.0.0.2\" does not match any of DNSNames [\"*.other\"]")]
    [InlineData("a.example", "10.0.0.2", "tls: \"10.0.0.2\" does not match any of DNSNames [\"a.example\"]")]
    [InlineData("10.0.0.1 unknown", "10.0.0.3", "tls: \"10.0.0.3\" does not match any of DNSNames [\"unknown\"] (no such host)")]
    public async Task A_certificate_is_good_for_the_addresses_and_hosts_that_it_names(string names, string caller, string? trouble)
    {
        CallerAddresses addresses = new(
            static (host, _) => Hosts.TryGetValue(host, out string? address) ? Task.FromResult<IPAddress[]>([IPAddress.Parse(address)]) : throw new SocketException(0, "no such host"),
            static (address, _) => Hosts.FirstOrDefault(h => h.Value == address.ToString()).Key is { } name ? Task.FromResult(name + ".") : throw new SocketException(0, "no such address"),
            TimeProvider.System);
        using X509Certificate2 certificate = Certificate(names);
        Assert.Equal(trouble, await addresses.TroubleAsync(certificate, new IPEndPoint(IPAddress.Parse(caller), 1)));
    }

    [Fact]
    public async Task Who_calls_through_the_file_system_has_no_address()
    {
        using X509Certificate2 certificate = Certificate("10.0.0.1");
        Assert.Null(await CallerAddresses.OfMachine(TimeProvider.System).TroubleAsync(certificate, new UnixDomainSocketEndPoint("a")));
    }

    [Theory]
    [InlineData("http://localhost:1,https://127.0.0.1:1,https://0.0.0.0:1,https://10.0.0.1:1,https://10.0.0.2:1", "10.0.0.1")]
    [InlineData("https://[::1]:1,https://[fd00::2]:1", "fd00::2")]
    [InlineData("http://name:1,unix://a", null)]
    public void Others_are_called_from_the_first_address_that_they_can_answer_to(string urls, string? address) =>
        Assert.Equal(address, PeerAddress.CallingAddress(urls.Split(','))?.ToString());

    private static X509Certificate2 Certificate(string names)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=member", key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder builder = new();
        foreach (string name in names.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            if (IPAddress.TryParse(name, out IPAddress? address))
            {
                builder.AddIpAddress(address);
            }
            else
            {
                builder.AddDnsName(name);
            }
        }

        if (names.Length > 0)
        {
            request.CertificateExtensions.Add(builder.Build());
        }

        return request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200));
    }
}
