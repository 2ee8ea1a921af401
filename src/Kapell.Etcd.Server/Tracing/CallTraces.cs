using System.Diagnostics;
using Kapell.Etcd.Server.Http2;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using StatusCode = Grpc.Core.StatusCode;

namespace Kapell.Etcd.Server.Tracing;

/// <summary>
/// A span for each call, in the trace that its client says it belongs to (W3C Trace Context, header <c>traceparent</c>), named and marked
/// as those of grpc-go's otelgrpc are. They are sent in batches; what the collector does not take is dropped, and no call waits for it.
/// </summary>
internal sealed class CallTraces : IDisposable
{
    private const string SourceName = "Kapell.Etcd.Server";
    private const double Million = 1_000_000;

    private readonly ActivitySource _source = new(SourceName);
    private readonly TracerProvider _provider;

    public CallTraces(TracingOptions options)
    {
        ResourceBuilder resource = ResourceBuilder.CreateEmpty().AddService(
            options.ServiceName, autoGenerateServiceInstanceId: false, serviceInstanceId: options.InstanceId.Length > 0 ? options.InstanceId : null);
        _provider = Sdk.CreateTracerProviderBuilder()
            .AddSource(SourceName)
            .SetResourceBuilder(resource)
            .SetSampler(new ParentBasedSampler(new TraceIdRatioBasedSampler(options.SamplingPerMillion / Million)))
            .AddOtlpExporter(exporter => (exporter.Endpoint, exporter.Protocol) = (options.Address, OtlpExportProtocol.Grpc))
            .Build();
    }

    /// <summary>Null when nobody wants this call's.</summary>
    /// <param name="method">"/etcdserverpb.KV/Put".</param>
    public Activity? Begin(string method, Http2Stream stream)
    {
        ActivityContext parent = default;
        if (stream.Find("traceparent"u8)?.ValueText is { } trace)
        {
            // What is no trace begins one, as the standard says.
            ActivityContext.TryParse(trace, stream.Find("tracestate"u8)?.ValueText, isRemote: true, out parent);
        }

        Activity? around = Activity.Current;
        string name = method[1..];
        int slash = name.IndexOf('/', StringComparison.Ordinal);
        Activity? span = _source.StartActivity(ActivityKind.Server, parent, name: name);

        // The thread that reads the socket goes on with other calls.
        Activity.Current = around;
        span?.SetTag("rpc.system", "grpc").SetTag("rpc.service", name[..slash]).SetTag("rpc.method", name[(slash + 1)..]);
        return span;
    }

    public static void End(Activity span, StatusCode code)
    {
        span.SetTag("rpc.grpc.status_code", (int)code);
        if (code is StatusCode.Unknown or StatusCode.DeadlineExceeded or StatusCode.Unimplemented or StatusCode.Internal or StatusCode.Unavailable or StatusCode.DataLoss)
        {
            // The others are the client's own doing. OpenTelemetry: semantic conventions of gRPC, status of server spans
            span.SetStatus(ActivityStatusCode.Error);
        }

        Activity? around = Activity.Current;
        span.Stop();
        Activity.Current = around;
    }

    /// <summary>Sends what is there, for some seconds at most.</summary>
    public void Dispose()
    {
        _provider.Dispose();
        _source.Dispose();
    }
}
