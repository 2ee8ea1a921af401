using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.Controllers.Shared;

/// <summary>The condition DisruptionTarget, which says that a pod did not end by itself (KEP-3329).</summary>
internal static class Disruption
{
    public static JsonObject Patch(KubeObject pod, string reason, string message, DateTimeOffset now) => new()
    {
        ["metadata"] = new JsonObject { ["uid"] = pod.Uid },
        ["status"] = new JsonObject
        {
            ["conditions"] = new JsonArray(new JsonObject
            {
                ["type"] = "DisruptionTarget", ["status"] = "True", ["reason"] = reason, ["message"] = message, ["lastTransitionTime"] = Times.Text(now),
            }),
        },
    };
}
