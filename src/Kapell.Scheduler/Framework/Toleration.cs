using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.Scheduler.Framework;

/// <summary>A node's mark that keeps pods away.</summary>
public readonly record struct Taint(string Key, string Value, string Effect)
{
    public static Taint From(JsonElement taint) => new(taint.Text("key"), taint.Text("value"), taint.Text("effect"));

    /// <summary>As upstream's messages show it.</summary>
    public override string ToString() => $"{{{Key}: {Value}}}";
}

/// <summary>A pod's readiness to bear a taint (api: core/v1 toleration.go ToleratesTaint).</summary>
public readonly record struct Toleration(string Key, string Operator, string Value, string Effect)
{
    public static Toleration From(JsonElement toleration) =>
        new(toleration.Text("key"), toleration.Text("operator"), toleration.Text("value"), toleration.Text("effect"));

    public bool Tolerates(Taint taint)
    {
        if ((Effect.Length > 0 && Effect != taint.Effect) || (Key.Length > 0 && Key != taint.Key))
        {
            return false;
        }

        return Operator switch
        {
            "" or "Equal" => Value == taint.Value,
            "Exists" => true,
            _ => false,
        };
    }
}
