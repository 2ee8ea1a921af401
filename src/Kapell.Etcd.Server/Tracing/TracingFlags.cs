using System.Globalization;
using Kapell.Base;

namespace Kapell.Etcd.Server.Tracing;

/// <summary>The flags of distributed tracing, with their names before 3.6.</summary>
internal sealed class TracingFlags
{
    private const long SamplingMax = 1_000_000;

    private readonly FlagValue<bool> _enabled;
    private readonly FlagValue<string> _address;
    private readonly FlagValue<string> _service;
    private readonly FlagValue<string> _instance;
    private readonly FlagValue<long> _sampling;

    public TracingFlags(FlagSet flags)
    {
        _enabled = flags.Bool("enable-distributed-tracing", false, "Send a span of each call to a collector, by OpenTelemetry's protocol.");
        _address = flags.String("distributed-tracing-address", "localhost:4317", "Address of the collector (if --enable-distributed-tracing is set).");
        _service = flags.String("distributed-tracing-service-name", "etcd", "Name of the service that spans are of. Must be the same for all members of a cluster.");
        _instance = flags.String("distributed-tracing-instance-id", "", "Id of the instance that spans are of. Must be unique per member; empty for none.");
        _sampling = flags.Long("distributed-tracing-sampling-rate", 0, "Number of traces to begin per million calls; traces that clients have begun are gone on with.");
        foreach (string name in new[] { "enable-distributed-tracing", "distributed-tracing-address", "distributed-tracing-service-name", "distributed-tracing-instance-id", "distributed-tracing-sampling-rate" })
        {
            flags.Alias("experimental-" + name, name);
        }
    }

    /// <summary>Null: no spans.</summary>
    /// <exception cref="FlagException">A flag's value cannot be.</exception>
    public TracingOptions? Value
    {
        get
        {
            if (!_enabled.Value)
            {
                return null;
            }

            // etcd: embed/config_tracing.go validateTracingConfig
            string? wrong = _sampling.Value < 0 ? "tracing sampling rate must be positive"
                : _sampling.Value > SamplingMax ? $"tracing sampling rate must be less than {SamplingMax}"
                : null;
            if (wrong is not null)
            {
                throw new FlagException("distributed tracing configuration is not valid: " + wrong);
            }

            bool hasPort = ushort.TryParse(_address.Value.AsSpan(_address.Value.LastIndexOf(':') + 1), NumberStyles.None, CultureInfo.InvariantCulture, out _);
            return hasPort && Uri.TryCreate("http://" + _address.Value, UriKind.Absolute, out Uri? address) && address.PathAndQuery == "/"
                ? new TracingOptions(address, _service.Value, _instance.Value, _sampling.Value)
                : throw new FlagException($"--distributed-tracing-address: \"{_address.Value}\" is not host:port");
        }
    }
}
