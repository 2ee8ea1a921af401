using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.Scheduler.Framework;

/// <summary>
/// Amounts of compute resources: CPU in thousandths, memory and ephemeral storage in bytes, pods in pieces, everything else by its
/// name. Immutable.
/// </summary>
public sealed record ComputeResources(long MilliCpu, long Memory, long EphemeralStorage, long Pods, IReadOnlyDictionary<string, long> Scalar)
{
    public static readonly ComputeResources None = new(0, 0, 0, 0, new Dictionary<string, long>());

    /// <summary>From a map of quantities (<c>allocatable</c>, <c>requests</c>); what is no quantity counts as absent.</summary>
    public static ComputeResources From(JsonElement map)
    {
        if (map.ValueKind != JsonValueKind.Object)
        {
            return None;
        }

        ComputeResources sum = None;
        Dictionary<string, long>? scalar = null;
        foreach (JsonProperty item in map.EnumerateObject())
        {
            string text = item.Value.ValueKind == JsonValueKind.String ? item.Value.GetString()! : item.Value.GetRawText();
            if (!Quantity.TryParse(text, out Quantity amount))
            {
                continue;
            }

            switch (item.Name)
            {
                case "cpu":
                    sum = sum with { MilliCpu = amount.MilliValue };
                    break;
                case "memory":
                    sum = sum with { Memory = amount.Value };
                    break;
                case "ephemeral-storage":
                    sum = sum with { EphemeralStorage = amount.Value };
                    break;
                case "pods":
                    sum = sum with { Pods = amount.Value };
                    break;
                default:
                    (scalar ??= new(StringComparer.Ordinal))[item.Name] = amount.Value;
                    break;
            }
        }

        return scalar is null ? sum : sum with { Scalar = scalar };
    }

    public ComputeResources Plus(ComputeResources other) => Combine(other, static (a, b) => a + b);

    public ComputeResources Minus(ComputeResources other) => Combine(other, static (a, b) => a - b);

    /// <summary>The larger of each: what init containers that run one after another need.</summary>
    public ComputeResources Max(ComputeResources other) => Combine(other, Math.Max);

    private ComputeResources Combine(ComputeResources other, Func<long, long, long> with)
    {
        IReadOnlyDictionary<string, long> scalar = Scalar;
        if (Scalar.Count > 0 || other.Scalar.Count > 0)
        {
            scalar = Scalar.Keys.Union(other.Scalar.Keys).ToDictionary(k => k, k => with(Scalar.GetValueOrDefault(k), other.Scalar.GetValueOrDefault(k)), StringComparer.Ordinal);
        }

        return new ComputeResources(
            with(MilliCpu, other.MilliCpu), with(Memory, other.Memory), with(EphemeralStorage, other.EphemeralStorage), with(Pods, other.Pods), scalar);
    }
}
