using Grpc.Core;

namespace Kapell.Etcd.Client;

/// <summary>gRPC statuses to <see cref="EtcdException"/> (etcd: api/v3rpc/rpctypes/error.go).</summary>
internal static class EtcdErrors
{
    public static EtcdException From(RpcException e)
    {
        string text = e.Status.Detail;
        EtcdErrorKind kind = e.StatusCode switch
        {
            StatusCode.OutOfRange when text.Contains("compacted", StringComparison.Ordinal) => EtcdErrorKind.Compacted,
            StatusCode.OutOfRange when text.Contains("future revision", StringComparison.Ordinal) => EtcdErrorKind.FutureRevision,
            StatusCode.ResourceExhausted when text.Contains("space exceeded", StringComparison.Ordinal) => EtcdErrorKind.NoSpace,
            StatusCode.ResourceExhausted when text.Contains("larger than max", StringComparison.Ordinal) => EtcdErrorKind.TooLarge,
            StatusCode.ResourceExhausted => EtcdErrorKind.TooManyRequests,
            StatusCode.InvalidArgument when text.Contains("too large", StringComparison.Ordinal) => EtcdErrorKind.TooLarge,
            StatusCode.NotFound when text.Contains("lease not found", StringComparison.Ordinal) => EtcdErrorKind.LeaseNotFound,
            StatusCode.PermissionDenied or StatusCode.Unauthenticated => EtcdErrorKind.NotAllowed,
            StatusCode.DeadlineExceeded => EtcdErrorKind.Timeout,
            StatusCode.Unavailable when text.Contains("timed out", StringComparison.Ordinal) => EtcdErrorKind.Timeout,
            StatusCode.Unavailable or StatusCode.Aborted => EtcdErrorKind.Unavailable,
            // The connection broke under the call.
            StatusCode.Internal when e.InnerException is HttpRequestException or IOException => EtcdErrorKind.Unavailable,
            _ => EtcdErrorKind.Other,
        };
        return new EtcdException(kind, text, e) { NothingSent = kind == EtcdErrorKind.Unavailable && NeverConnected(e) };
    }

    private static bool NeverConnected(RpcException e) =>
        e.Status.DebugException is HttpRequestException
        {
            HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError or HttpRequestError.SecureConnectionError,
        };
}
