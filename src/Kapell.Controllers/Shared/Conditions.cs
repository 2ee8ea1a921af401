using System.Text.Json.Nodes;

namespace Kapell.Controllers.Shared;

/// <summary>Edits <c>status.conditions</c> of a document.</summary>
internal static class Conditions
{
    public static JsonObject? Find(JsonObject status, string type) =>
        (status["conditions"] as JsonArray)?.OfType<JsonObject>().FirstOrDefault(c => Text(c, "type") == type);

    public static string Text(JsonObject condition, string field) =>
        condition[field] is JsonValue v && v.TryGetValue(out string? text) ? text : "";

    /// <summary>
    /// Sets a condition. Nothing changes when status and reason are the same; the transition time moves only with the status
    /// (deployment_util.go SetDeploymentCondition, and its likes). True when something changed.
    /// </summary>
    public static bool Set(JsonObject status, string type, string value, string reason, string message, DateTimeOffset now, bool withUpdateTime)
    {
        JsonObject? old = Find(status, type);
        if (old is not null && Text(old, "status") == value && Text(old, "reason") == reason)
        {
            return false;
        }

        Replace(status, type, value, reason, message, now, withUpdateTime);
        return true;
    }

    /// <summary>As <see cref="Set"/>, also when status and reason stay: message and update time are new.</summary>
    public static void Replace(JsonObject status, string type, string value, string reason, string message, DateTimeOffset now, bool withUpdateTime)
    {
        JsonObject? old = Find(status, type);
        string transition = old is not null && Text(old, "status") == value ? Text(old, "lastTransitionTime") : Times.Text(now);
        JsonObject condition = new() { ["type"] = type, ["status"] = value };
        if (withUpdateTime)
        {
            condition["lastUpdateTime"] = Times.Text(now);
        }

        condition["lastTransitionTime"] = transition.Length > 0 ? transition : Times.Text(now);
        Put(condition, "reason", reason);
        Put(condition, "message", message);
        JsonArray conditions = status["conditions"] as JsonArray ?? [];
        if (conditions.Parent is null)
        {
            status["conditions"] = conditions;
        }

        if (old is null)
        {
            conditions.Add((JsonNode)condition);
        }
        else
        {
            conditions[conditions.IndexOf(old)] = condition;
        }
    }

    public static void Remove(JsonObject status, string type)
    {
        if (Find(status, type) is { } old)
        {
            JsonArray conditions = old.Parent!.AsArray(); // found in it
            conditions.Remove(old);
            if (conditions.Count == 0)
            {
                status.Remove("conditions");
            }
        }
    }

    private static void Put(JsonObject json, string name, string value)
    {
        if (value.Length > 0)
        {
            json[name] = value;
        }
    }
}
