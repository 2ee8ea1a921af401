using System.Security.Cryptography.X509Certificates;
using Grpc.Core;

namespace Kapell.Etcd.Server.Calls;

/// <summary>A call that knows the certificate its client showed.</summary>
internal interface ICallerCertificate
{
    /// <summary>Verified by the port; null without TLS or without one.</summary>
    X509Certificate2? ClientCertificate { get; }
}

/// <summary>
/// A call of one service made from within another on behalf of a client: its credentials, and a life of its own, so that what was begun
/// can be cleaned up after the client has gone.
/// </summary>
internal sealed class InnerCall(string method, Metadata headers, X509Certificate2? certificate, string peer, CancellationToken cancellation)
    : ServerCallContext, ICallerCertificate
{
    private Metadata? _trailers;

    public InnerCall(ServerCallContext outer, CancellationToken cancellation)
        : this(outer.Method, outer.RequestHeaders, (outer as ICallerCertificate)?.ClientCertificate, outer.Peer, cancellation)
    {
    }

    public X509Certificate2? ClientCertificate => certificate;

    protected override string MethodCore => method;

    protected override string HostCore => "";

    protected override string PeerCore => peer;

    protected override DateTime DeadlineCore => DateTime.MaxValue;

    protected override Metadata RequestHeadersCore => headers;

    protected override CancellationToken CancellationTokenCore => cancellation;

    protected override Metadata ResponseTrailersCore => _trailers ??= [];

    protected override Status StatusCore { get; set; }

    protected override WriteOptions? WriteOptionsCore { get; set; }

    protected override AuthContext AuthContextCore => new("", []);

    protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) =>
        throw new NotSupportedException("calls are not passed on");

    protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders) => Task.CompletedTask;
}
