using System.Net;
using System.Net.Sockets;
using Kapell.ApiServer.Http;
using Kapell.Base;
using Kapell.Etcd.Client;
using Microsoft.Extensions.Logging;

namespace Kapell.ApiServer;

/// <summary><c>kapell apiserver</c>, or <c>kube-apiserver</c>: upstream's flags, one server.</summary>
public static class ApiServerCommand
{
    public static async Task<int> RunAsync(
        IReadOnlyList<string> args, TimeProvider time, ulong seed, ILoggerFactory logs, TextWriter output, CancellationToken stopping)
    {
        ApiServerFlags flags = new();
        ServerOptions options;
        try
        {
            flags.Set.Parse(args);
            if (flags.Set.HelpWanted)
            {
                await output.WriteLineAsync(flags.Set.Help());
                return 0;
            }

            options = flags.ToOptions();
        }
        catch (FlagException e)
        {
            await output.WriteLineAsync($"kube-apiserver: {e.Message}; see --help");
            return 1;
        }

        try
        {
            options = WithAdvertiseAddress(options);
            EtcdClient etcd = new(new EtcdClientOptions
            {
                Endpoints = options.EtcdServers, CaFile = options.EtcdCaFile, CertFile = options.EtcdCertFile, KeyFile = options.EtcdKeyFile,
            }, time);
            await using ApiServerHost host = new(options, etcd, time, seed, logs);
            await host.RunAsync(static () => { }, stopping);
            return 0;
        }
        catch (IOException e)
        {
            string hint = e.InnerException is Microsoft.AspNetCore.Connections.AddressInUseException
                ? $"address {options.BindAddress}:{options.SecurePort} is in use: stop the program that has it, or choose another --secure-port"
                : e.Message;
            await output.WriteLineAsync("kube-apiserver: " + hint);
            return 1;
        }
        catch (Exception e) when (e is InvalidOperationException or System.Security.Cryptography.CryptographicException or ArgumentException or UnauthorizedAccessException or FormatException)
        {
            await output.WriteLineAsync($"kube-apiserver: {e.Message}; check the files and addresses given on the command line");
            return 1;
        }
    }

    /// <summary>Upstream takes the address of the default route; asking the routing table needs no packet.</summary>
    private static ServerOptions WithAdvertiseAddress(ServerOptions options)
    {
        if (options.AdvertiseAddress.Length > 0)
        {
            return options;
        }

        if (options.BindAddress is not ("0.0.0.0" or "::"))
        {
            return options with { AdvertiseAddress = options.BindAddress };
        }

        try
        {
            using Socket probe = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            probe.Connect(IPAddress.Parse("192.0.2.1"), 9);
            return options with { AdvertiseAddress = ((IPEndPoint)probe.LocalEndPoint!).Address.ToString() };
        }
        catch (SocketException)
        {
            return options with { AdvertiseAddress = "127.0.0.1" };
        }
    }
}
