using System.Net;
using System.Net.Sockets;
using Kapell.Base;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http2;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// Addresses to listen on. One port may be named twice, with TLS and without: the first byte of a connection says which it is (cmux in
/// etcd). A connection that comes no further than TLS is logged.
/// </summary>
/// <param name="endpoint">"client" or "peer", for the log.</param>
/// <param name="callers">Judges from where callers call; null: they may from everywhere.</param>
internal sealed class PortSet(string endpoint, TlsSettings? tls, ILogger logger, CallerAddresses? callers = null)
{
    private const byte TlsHandshake = 0x16;
    private readonly Dictionary<EndPoint, Port> _ports = [];

    /// <param name="urls">All of the same duty.</param>
    /// <param name="duty">What they are for.</param>
    /// <exception cref="FlagException">One needs a certificate and there is none, or is no address.</exception>
    public void Add(IEnumerable<string> urls, PortDuty duty)
    {
        foreach (string url in urls.Distinct())
        {
            ListenAddress address = ListenAddress.Parse(url);
            if (address.IsTls && tls is null)
            {
                throw new FlagException(
                    endpoint == "peer" ? "listen for peers on https: --peer-cert-file and --peer-key-file are needed"
                        : $"listen on {url}: --cert-file and --key-file are needed for https");
            }

            foreach (EndPoint point in address.EndPoints)
            {
                // Port 0 is another port each time it is named.
                EndPoint key = point is IPEndPoint { Port: 0 } ? new AnyPort(_ports.Count) : point;
                Port port = _ports.GetValueOrDefault(key) ?? new Port(point, duty);
                _ports[key] = port with { Plain = port.Plain || !address.IsTls, Tls = port.Tls || address.IsTls };
            }
        }
    }

    /// <param name="kestrel">Not started yet.</param>
    /// <param name="time">For what never sends its first byte.</param>
    /// <param name="serve">Adds what serves a connection of this duty.</param>
    public void Listen(KestrelServerOptions kestrel, TimeProvider time, Action<ListenOptions, PortDuty> serve)
    {
        foreach (Port port in _ports.Values)
        {
            void Configure(ListenOptions listen)
            {
                listen.Use(next => connection =>
                {
                    connection.Features.Set(new PortGuard(port.Duty));
                    return next(connection);
                });
                if (port.Tls)
                {
                    ConfigureTls(listen, port, time);
                }

                serve(listen, port.Duty);
            }

            if (port.Point is UnixEndPoint unix)
            {
                // etcd: a socket that is left over from a killed process is in nobody's use; the lock on the data directory says so.
                File.Delete(unix.Path);
                kestrel.Listen(new UnixDomainSocketEndPoint(unix.Name), Configure);
            }
            else
            {
                kestrel.Listen((IPEndPoint)port.Point, Configure);
            }
        }
    }

    /// <summary>Whether callers need no TLS there.</summary>
    public bool IsPlain(EndPoint point) => _ports.Values.Any(p => p.Plain && (p.Point is UnixEndPoint unix ? unix.Name == point.ToString() : p.Point.Equals(point)));

    public override string ToString() => string.Join(", ", _ports.Values.Select(static p => p.Point));

    private void ConfigureTls(ListenOptions listen, Port port, TimeProvider time)
    {
        ConnectionDelegate? plain = null;
        object secured = new();
        listen.Use(next => async connection =>
        {
            if (connection is IHttp2Transport || (port.Plain && await FirstByteAsync(connection, time) is { } first && first != TlsHandshake))
            {
                await plain!(connection);
                return;
            }

            string? trouble = await TlsTrouble.WatchAsync(() => next(connection));
            if (trouble is not null && !connection.Items.ContainsKey(secured))
            {
                Log.ConnectionRejected(logger, endpoint, connection.RemoteEndPoint?.ToString() ?? "", trouble);
            }
        });
        listen.UseHttps(tls!.Configure);
        listen.Use(next =>
        {
            plain = next;
            return async connection =>
            {
                connection.Items[secured] = true;
                if (callers is not null && connection.Features.Get<ITlsConnectionFeature>()?.ClientCertificate is { } certificate
                    && await callers.TroubleAsync(certificate, connection.RemoteEndPoint) is { } wrong)
                {
                    Log.ConnectionRejected(logger, endpoint, connection.RemoteEndPoint?.ToString() ?? "", wrong);
                    return;
                }

                await next(connection);
            };
        });
    }

    private static async Task<byte?> FirstByteAsync(ConnectionContext connection, TimeProvider time)
    {
        using CancellationTokenSource late = new(FirstBytes.Timeout, time);
        try
        {
            System.IO.Pipelines.ReadResult read = await connection.Transport.Input.ReadAsync(late.Token);
            byte? first = read.Buffer.IsEmpty ? null : read.Buffer.FirstSpan[0];
            connection.Transport.Input.AdvanceTo(read.Buffer.Start);
            return first;
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            return null;
        }
    }

    private sealed record Port(EndPoint Point, PortDuty Duty)
    {
        public bool Plain { get; init; }

        public bool Tls { get; init; }
    }

    private sealed class AnyPort(int number) : EndPoint
    {
        public override bool Equals(object? obj) => obj is AnyPort other && other.GetHashCode() == number;

        public override int GetHashCode() => number;
    }
}
