using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry;

/// <summary>Resource quantities inside objects: their canonical text, and sums over containers.</summary>
internal static class Quantities
{
    public static bool TryGet(JsonObject? list, string name, out Quantity value)
    {
        value = default;
        return TextOf(list?[name]) is { } text && Quantity.TryParse(text, out value);
    }

    /// <summary>Writes each quantity of a resource list as upstream's encoder does: <c>0.5</c> is <c>500m</c>, <c>1024Mi</c> is <c>1Gi</c>.</summary>
    public static void Canonicalize(JsonObject? list)
    {
        foreach (string name in list?.Select(p => p.Key).ToArray() ?? [])
        {
            CanonicalizeField(list, name);
        }
    }

    public static void CanonicalizeField(JsonObject? o, string name)
    {
        // What does not parse stays for decoding or validation to refuse.
        if (TextOf(o?[name]) is { } text && Quantity.TryParse(text, out Quantity value))
        {
            string canonical = value.ToCanonicalString();
            if (o![name].AsText() != canonical)
            {
                o[name] = canonical;
            }
        }
    }

    public static void CanonicalizeRequirements(JsonObject? resources)
    {
        Canonicalize(resources.Obj("requests"));
        Canonicalize(resources.Obj("limits"));
    }

    /// <summary>
    /// What a pod's containers ask of one resource: the larger of all containers together and the hungriest moment of the
    /// initialisation, sidecars counted from their start on (KEP-753). Null when none asks.
    /// </summary>
    public static string? SumOfContainerRequests(JsonObject spec, string name)
    {
        bool any = false;
        Quantity running = default;
        foreach (JsonObject container in spec.Items("containers"))
        {
            if (TryGet(container.Obj("resources", "requests"), name, out Quantity request))
            {
                any = true;
                running = running.Add(request);
            }
        }

        Quantity sidecars = default;
        Quantity peak = default;
        foreach (JsonObject container in spec.Items("initContainers"))
        {
            if (!TryGet(container.Obj("resources", "requests"), name, out Quantity request))
            {
                continue;
            }

            any = true;
            Quantity now = sidecars.Add(request);
            if (container.Text("restartPolicy") == "Always")
            {
                sidecars = now;
            }

            peak = now.CompareTo(peak) > 0 ? now : peak;
        }

        Quantity total = running.Add(sidecars);
        return any ? (peak.CompareTo(total) > 0 ? peak : total).ToString() : null;
    }

    private static string? TextOf(JsonNode? node) =>
        node is null ? null : node.AsText()?.Trim() ?? (node.GetValueKind() == System.Text.Json.JsonValueKind.Number ? node.ToJsonString() : null);
}
