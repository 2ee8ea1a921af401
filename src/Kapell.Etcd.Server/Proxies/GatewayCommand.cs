using System.Net;
using System.Net.Sockets;
using Kapell.Base;
using Kapell.Etcd.Server.Discovery;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Logging;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Proxies;

/// <summary><c>etcd gateway start</c>: one local address for the members of a cluster, by passing on bytes. etcd: etcdmain/gateway.go</summary>
internal static class GatewayCommand
{
    private const string EndpointForm = "error parsing endpoint";

    public static async Task<int> RunAsync(
        IReadOnlyList<string> args, TimeProvider time, Prng prng, (TextWriter Out, TextWriter Error) console, CancellationToken stopping)
    {
        FlagSet flags = new("etcd gateway start", "start the gateway");
        FlagValue<string> listen = flags.String("listen-addr", "127.0.0.1:23790", "listen address");
        FlagValue<IReadOnlyList<string>> endpoints = flags.List("endpoints", ["127.0.0.1:2379"], "comma separated etcd cluster endpoints");
        FlagValue<string> domain = flags.String("discovery-srv", "", "DNS domain used to bootstrap initial cluster");
        FlagValue<string> service = flags.String("discovery-srv-name", "", "service name to query when using DNS discovery");
        FlagValue<bool> insecure = flags.Bool("insecure-discovery", false, "accept insecure SRV records");
        FlagValue<string> authority = flags.String(
            "trusted-ca-file", "", "path to the client server TLS CA file for verifying the discovered endpoints when discovery-srv is provided.");
        FlagValue<TimeSpan> delay = flags.Duration("retry-delay", TimeSpan.FromMinutes(1), "duration of delay before retrying failed endpoints");
        flags.Parse(args);
        if (flags.HelpWanted || flags.Arguments is not ["start"])
        {
            await console.Out.WriteLineAsync(flags.Help());
            return flags.HelpWanted ? 0 : 1;
        }

        using EtcdLogs logs = new(new LogSettings(), time, console.Out, console.Error);
        ILogger logger = logs.CreateLogger("gateway");
        try
        {
            IReadOnlyList<Remote> remotes = domain.Value.Length > 0
                ? [.. (await new SrvDiscovery(DnsClient.OfMachine(prng, time), time)
                    .ClientsAsync(domain.Value, service.Value, insecure.Value, authority.Value, stopping)).Select(static a => a.Remote)]
                : [.. endpoints.Value.Select(ParseRemote)];
            IPEndPoint[] addresses = await ResolveAsync(listen.Value, stopping);
            await RefuseLoopAsync(remotes, addresses, listen.Value, stopping);
            Socket[] listeners = [.. addresses.Select(TcpRelay.Listen)];
            Log.GatewayReady(logger, string.Join(", ", remotes));
            await new TcpRelay(new RemoteSet(remotes, prng), delay.Value > TimeSpan.Zero ? delay.Value : TimeSpan.FromMinutes(5), time, logger)
                .RunAsync(listeners, stopping);
            return 0;
        }
        catch (Exception e) when (e is FlagException or IOException or SocketException)
        {
            await console.Error.WriteLineAsync($"etcd gateway: {e.Message}");
            return 1;
        }
    }

    /// <summary><c>host:port</c>, or a URL with them.</summary>
    /// <exception cref="FlagException">It is neither.</exception>
    public static Remote ParseRemote(string endpoint)
    {
        int scheme = endpoint.IndexOf("://", StringComparison.Ordinal);
        string address = scheme < 0 ? endpoint : endpoint[(scheme + 3)..];
        int colon = address.LastIndexOf(':');
        return colon > 0 && ushort.TryParse(address[(colon + 1)..], System.Globalization.CultureInfo.InvariantCulture, out ushort port) && port > 0
            ? new Remote(address[..colon].Trim('[', ']'), port)
            : throw new FlagException($"{EndpointForm} \"{endpoint}\"");
    }

    private static async Task<IPEndPoint[]> ResolveAsync(string listen, CancellationToken stopping)
    {
        int colon = listen.LastIndexOf(':');
        if (colon < 0 || !ushort.TryParse(listen[(colon + 1)..], System.Globalization.CultureInfo.InvariantCulture, out ushort port))
        {
            throw new FlagException($"failed to validate listen address: {listen}");
        }

        string host = listen[..colon].Trim('[', ']');
        if (host.Length == 0)
        {
            return [new IPEndPoint(IPAddress.Any, port)];
        }

        IPAddress[] found = host == "localhost" ? [IPAddress.Loopback] : await Dns.GetHostAddressesAsync(host, stopping);
        return [.. found.Select(a => new IPEndPoint(a, port))];
    }

    // A gateway that passes on to itself would take connections until none are left.
    private static async Task RefuseLoopAsync(IReadOnlyList<Remote> remotes, IPEndPoint[] own, string listen, CancellationToken stopping)
    {
        foreach (Remote remote in remotes)
        {
            IPAddress[] found;
            try
            {
                found = await Dns.GetHostAddressesAsync(remote.Host, stopping);
            }
            catch (SocketException)
            {
                throw new FlagException($"failed to resolve endpoint host: {remote.Host}");
            }

            if (own.Any(address => address.Port == remote.Port && found.Contains(address.Address)))
            {
                throw new FlagException($"SRV or endpoint ({remote}) should not resolve to the gateway listen addr ({listen})");
            }
        }
    }
}
