using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// Whether a caller's certificate is good for the address it calls from: a stolen one is of no use elsewhere. One that names neither address
/// nor host is good for all. etcd: client/pkg/transport/listener_tls.go checkCertSAN
/// </summary>
/// <param name="addressesOf">Asks for the addresses of a host.</param>
/// <param name="nameOf">Asks for the name of an address.</param>
internal sealed class CallerAddresses(
    Func<string, CancellationToken, Task<IPAddress[]>> addressesOf, Func<IPAddress, CancellationToken, Task<string>> nameOf, TimeProvider time)
{
    private const int NamesMax = 100;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5); // For all questions.

    /// <summary>Asks the machine's resolver.</summary>
    public static CallerAddresses OfMachine(TimeProvider time) => new(
        Dns.GetHostAddressesAsync, static async (address, token) => (await Dns.GetHostEntryAsync(address.ToString(), token)).HostName, time);

    /// <summary>Why not, or null. A caller on a socket of the file system has no address, and is not asked for one.</summary>
    public async Task<string?> TroubleAsync(X509Certificate2 certificate, EndPoint? caller)
    {
        if (caller is not IPEndPoint { Address: var address })
        {
            return null;
        }

        address = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        X509SubjectAlternativeNameExtension? names = certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>().FirstOrDefault();
        IPAddress[] addresses = [.. names?.EnumerateIPAddresses() ?? []];
        string[] hosts = [.. (names?.EnumerateDnsNames() ?? []).Take(NamesMax)];
        if (addresses.Contains(address) || (addresses.Length == 0 && hosts.Length == 0))
        {
            return null;
        }

        return hosts.Length == 0
            ? $"x509: certificate is valid for {string.Join<IPAddress>(", ", addresses)}, not {address}"
            : await HostsTroubleAsync(hosts, address);
    }

    private async Task<string?> HostsTroubleAsync(string[] hosts, IPAddress address)
    {
        using CancellationTokenSource late = new(Patience, time);
        string lastTrouble = "";

        // First the name of the address, which alone can be held against a wildcard.
        try
        {
            string name = (await nameOf(address, late.Token)).TrimEnd('.');
            if (hosts.Any(h => h.StartsWith("*.", StringComparison.Ordinal) ? name.EndsWith(h[1..], StringComparison.Ordinal) : name == h))
            {
                return null;
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            lastTrouble = $" ({e.Message})";
        }

        foreach (string host in hosts.Where(static h => !h.StartsWith("*.", StringComparison.Ordinal)))
        {
            try
            {
                if ((await addressesOf(host, late.Token)).Contains(address))
                {
                    return null;
                }
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException or ArgumentException)
            {
                lastTrouble = $" ({e.Message})";
            }
        }

        return $"tls: \"{address}\" does not match any of DNSNames [{string.Join(' ', hosts.Select(static h => $"\"{h}\""))}]{lastTrouble}";
    }
}
