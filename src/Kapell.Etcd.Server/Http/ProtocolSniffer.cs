using System.Buffers;
using System.IO.Pipelines;
using System.Security.Cryptography.X509Certificates;
using Kapell.Base;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// On a clear-text port: looks at the first bytes of a connection. HTTP/2 with prior knowledge begins with "PRI ", which no request of
/// HTTP/1.1 does. Kestrel chooses HTTP/2 only when TLS has negotiated it, so for such a connection we say that it has; the
/// request's scheme stays what the client says (AllowAlternateSchemes).
/// </summary>
internal sealed class ProtocolSniffer(TimeProvider time)
{
    private static readonly TimeSpan FirstBytesTimeout = TimeSpan.FromSeconds(30);
    private static ReadOnlySpan<byte> Preface => "PRI "u8;

    public async Task RunAsync(ConnectionDelegate next, ConnectionContext connection)
    {
        using CancellationTokenSource late = new(FirstBytesTimeout, time);
        try
        {
            if (await IsHttp2Async(connection.Transport.Input, late.Token))
            {
                connection.Features.Set<ITlsConnectionFeature>(Negotiated.Instance);
                connection.Features.Set<ITlsApplicationProtocolFeature>(Negotiated.Instance);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ConnectionResetException)
        {
            // Nobody said anything: a port scan, or a connection kept for later and forgotten.
            return;
        }

        await next(connection);
    }

    private static async Task<bool> IsHttp2Async(PipeReader input, CancellationToken cancellation)
    {
        while (true)
        {
            ReadResult result = await input.ReadAsync(cancellation);
            bool? decided = Decide(result.Buffer);
            if (decided is null && result.IsCompleted)
            {
                decided = false;
            }

            // Nothing is consumed; only when more is needed does the next read wait for more.
            input.AdvanceTo(result.Buffer.Start, decided is null ? result.Buffer.End : result.Buffer.Start);
            if (decided is { } known)
            {
                return known;
            }
        }
    }

    private static bool? Decide(ReadOnlySequence<byte> buffer)
    {
        Span<byte> first = stackalloc byte[4];
        int length = (int)Math.Min(buffer.Length, first.Length);
        buffer.Slice(0, length).CopyTo(first);
        Check.That(length <= Preface.Length);
        if (!first[..length].SequenceEqual(Preface[..length]))
        {
            return false;
        }

        return length == Preface.Length ? true : null;
    }

    private sealed class Negotiated : ITlsConnectionFeature, ITlsApplicationProtocolFeature
    {
        public static readonly Negotiated Instance = new();

        public X509Certificate2? ClientCertificate
        {
            get => null;
            set => throw new NotSupportedException();
        }

        public ReadOnlyMemory<byte> ApplicationProtocol { get; } = "h2"u8.ToArray();

        public Task<X509Certificate2?> GetClientCertificateAsync(CancellationToken cancellationToken) =>
            Task.FromResult<X509Certificate2?>(null);
    }
}
