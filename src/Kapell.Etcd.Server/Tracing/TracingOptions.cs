namespace Kapell.Etcd.Server.Tracing;

/// <summary>Where spans go. etcd: embed/config_tracing.go</summary>
/// <param name="Address">host:port of a collector that takes OTLP by gRPC, without TLS.</param>
/// <param name="InstanceId">Empty: spans do not say which member they are of.</param>
/// <param name="SamplingPerMillion">Of the traces that nobody before has decided on; 0 to 1,000,000.</param>
public sealed record TracingOptions(Uri Address, string ServiceName, string InstanceId, long SamplingPerMillion);
