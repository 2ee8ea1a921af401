using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Kapell.Base;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Proxies;

namespace Kapell.Etcd.Server.Discovery;

/// <summary>Finds the members of a cluster in DNS (--discovery-srv). etcd: client/pkg/srv/srv.go, embed/config.go GetDNSClusterNames</summary>
internal sealed class SrvDiscovery(DnsClient dns, TimeProvider time)
{
    private static readonly TimeSpan DialTimeout = TimeSpan.FromSeconds(5);

    /// <summary>
    /// The founders, from <c>_etcd-server-ssl._tcp</c> and <c>_etcd-server._tcp</c>: the one whose address is this member's own has its
    /// name, the others are numbered.
    /// </summary>
    /// <exception cref="IOException">Neither has records.</exception>
    /// <exception cref="FlagException">This member is there with the other scheme.</exception>
    public async Task<IReadOnlyList<InitialMember>> FoundersAsync(
        string domain, string service, string ownName, IReadOnlyList<string> ownUrls, CancellationToken cancellation)
    {
        Dictionary<string, string> own = new(StringComparer.Ordinal);
        foreach (string url in ownUrls.Where(static u => Uri.TryCreate(u, UriKind.Absolute, out _)))
        {
            Uri uri = new(url);
            foreach (IPAddress address in await Dns.GetHostAddressesAsync(uri.Host.Trim('[', ']'), cancellation))
            {
                own[new IPEndPoint(address, uri.Port).ToString()] = url;
            }
        }

        List<InitialMember> founders = [];
        List<string> troubles = [];
        foreach ((string scheme, string prefix) in new[] { ("https", "etcd-server-ssl"), ("http", "etcd-server") })
        {
            foreach (SrvRecord record in await LookUpAsync(prefix, service, domain, troubles, cancellation))
            {
                string? mine = await OwnUrlAsync(record, own, cancellation);
                if (mine is not null && !mine.StartsWith(scheme + "://", StringComparison.Ordinal))
                {
                    throw new FlagException(
                        $"bootstrap at {scheme}://{record.Target}:{record.Port} from DNS for {prefix} has scheme mismatch with expected peer {mine}");
                }

                string name = mine is not null ? ownName : founders.Count.ToString(System.Globalization.CultureInfo.InvariantCulture);
                founders.Add(new InitialMember(name, $"{scheme}://{record.Target}:{record.Port}"));
            }
        }

        return founders.Count > 0 ? founders : throw new IOException($"error setting up initial cluster: {string.Join("; ", troubles)}");
    }

    /// <summary>The client addresses, from <c>_etcd-client-ssl._tcp</c> and <c>_etcd-client._tcp</c>.</summary>
    /// <param name="domain">Of the records.</param>
    /// <param name="service">Appended to the names of the records after a dash; empty for nothing.</param>
    /// <param name="insecure">Otherwise only addresses that show a certificate for the domain.</param>
    /// <param name="authorityFile">Who may have signed it; empty: whom the machine trusts.</param>
    /// <param name="cancellation">Ends the search.</param>
    /// <exception cref="IOException">None is left.</exception>
    public async Task<IReadOnlyList<ServiceAddress>> ClientsAsync(
        string domain, string service, bool insecure, string authorityFile, CancellationToken cancellation)
    {
        List<ServiceAddress> found = [];
        List<string> troubles = [];
        foreach ((string scheme, string prefix) in new[] { ("https", "etcd-client-ssl"), ("http", "etcd-client") })
        {
            foreach (SrvRecord record in await LookUpAsync(prefix, service, domain, troubles, cancellation))
            {
                found.Add(new ServiceAddress(scheme, new Remote(record.Target, record.Port, record.Priority, record.Weight)));
            }
        }

        if (insecure || found.Count == 0)
        {
            return found.Count > 0 ? found : throw new IOException($"dns lookup errors: {string.Join(" and ", troubles)}");
        }

        List<ServiceAddress> good = [];
        foreach (ServiceAddress address in found)
        {
            if (await WhyNotSecureAsync(address, domain, authorityFile, cancellation) is { } reason)
            {
                troubles.Add($"{address}: {reason}");
            }
            else
            {
                good.Add(address);
            }
        }

        return good.Count > 0 ? good : throw new IOException($"no endpoint of {domain} is secure (--insecure-discovery takes them as they are): {string.Join("; ", troubles)}");
    }

    private async Task<IReadOnlyList<SrvRecord>> LookUpAsync(
        string prefix, string service, string domain, List<string> troubles, CancellationToken cancellation)
    {
        string name = $"_{prefix}{(service.Length > 0 ? "-" + service : "")}._tcp.{domain}";
        try
        {
            return await dns.SrvAsync(name, cancellation);
        }
        catch (IOException e)
        {
            troubles.Add(e.Message);
            return [];
        }
    }

    private static async Task<string?> OwnUrlAsync(SrvRecord record, Dictionary<string, string> own, CancellationToken cancellation)
    {
        try
        {
            foreach (IPAddress address in await Dns.GetHostAddressesAsync(record.Target, cancellation))
            {
                if (own.TryGetValue(new IPEndPoint(address, record.Port).ToString(), out string? url))
                {
                    return url;
                }
            }
        }
        catch (SocketException)
        {
            // A name that leads nowhere is not this member's.
            return null;
        }

        return null;
    }

    private async Task<string?> WhyNotSecureAsync(ServiceAddress address, string domain, string authorityFile, CancellationToken cancellation)
    {
        if (address.Scheme != "https")
        {
            return "not https";
        }

        SslClientAuthenticationOptions options = new() { TargetHost = domain };
        if (authorityFile.Length > 0)
        {
            options.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            options.CertificateChainPolicy.CustomTrustStore.ImportFromPemFile(authorityFile);
        }

        try
        {
            using Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(address.Remote.Host, address.Remote.Port, cancellation).AsTask().WaitAsync(DialTimeout, time, cancellation);
            await using SslStream tls = new(new NetworkStream(socket));
            await tls.AuthenticateAsClientAsync(options, cancellation).WaitAsync(DialTimeout, time, cancellation);
            return null;
        }
        catch (Exception e) when (e is SocketException or IOException or TimeoutException or System.Security.Authentication.AuthenticationException)
        {
            return e.Message;
        }
    }
}

/// <summary>Where clients are served.</summary>
internal sealed record ServiceAddress(string Scheme, Remote Remote)
{
    public override string ToString() => $"{Scheme}://{Remote}";
}
