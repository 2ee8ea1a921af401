using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>What the controllers write into <c>status</c> (pkg/apis/apps, batch, policy validation: Validate...StatusUpdate).</summary>
internal static class StatusValidation
{
    private const string MoreThanReplicas = "cannot be greater than status.replicas";
    private static readonly FieldPath Status = FieldPath.New("status");

    public static List<FieldError> Deployment(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = Counts(updated,
            "observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas", "terminatingReplicas",
            "collisionCount");
        JsonObject? status = updated.Obj("status");
        NoMoreThan(errors, status, "replicas", MoreThanReplicas, "updatedReplicas", "readyReplicas", "availableReplicas");
        NoMoreThan(errors, status, "readyReplicas", "cannot be greater than readyReplicas", "availableReplicas");
        NotDecremented(errors, updated, old);
        return errors;
    }

    public static List<FieldError> ReplicaSet(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = Counts(updated,
            "replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "terminatingReplicas", "observedGeneration");
        JsonObject? status = updated.Obj("status");
        NoMoreThan(errors, status, "replicas", MoreThanReplicas, "fullyLabeledReplicas", "readyReplicas", "availableReplicas");
        NoMoreThan(errors, status, "readyReplicas", "cannot be greater than readyReplicas", "availableReplicas");
        return errors;
    }

    public static List<FieldError> StatefulSet(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = Counts(updated,
            "replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas", "observedGeneration", "collisionCount");
        JsonObject? status = updated.Obj("status");
        NoMoreThan(errors, status, "replicas", MoreThanReplicas, "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas");
        NoMoreThan(errors, status, "readyReplicas", "cannot be greater than status.readyReplicas", "availableReplicas");
        NotDecremented(errors, updated, old);
        return errors;
    }

    public static List<FieldError> DaemonSet(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = Counts(updated,
            "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration", "updatedNumberScheduled",
            "numberAvailable", "numberUnavailable", "collisionCount");
        NotDecremented(errors, updated, old);
        return errors;
    }

    public static List<FieldError> Job(JsonObject updated, JsonObject old) => Counts(updated, "active", "succeeded", "failed", "ready", "terminating");

    public static List<FieldError> DisruptionBudget(JsonObject updated, JsonObject old) =>
        Counts(updated, "disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods");

    public static List<FieldError> Service(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        FieldPath path = Status.Child("loadBalancer", "ingress");
        JsonObject? balancer = updated.Obj("status").Obj("loadBalancer");
        if (updated.Obj("spec").Text("type") != "LoadBalancer" && balancer.HasItems("ingress"))
        {
            errors.Add(FieldError.Forbidden(path, "may only be used when `spec.type` is \"LoadBalancer\""));
            return errors;
        }

        int i = 0;
        foreach (JsonObject ingress in balancer.Items("ingress"))
        {
            FieldPath at = path.Index(i++);
            string ip = ingress.Text("ip");
            if (ip.Length > 0)
            {
                Validating.IP(errors, at.Child("ip"), ip);
                if (!ingress.Has("ipMode"))
                {
                    errors.Add(FieldError.Required(at.Child("ipMode"), "must be specified when `ip` is set"));
                }
            }
            else if (ingress.Has("ipMode"))
            {
                errors.Add(FieldError.Forbidden(at.Child("ipMode"), "may not be specified when `ip` is not set"));
            }

            if (ingress.Has("ipMode"))
            {
                Validating.OneOf(errors, at.Child("ipMode"), ingress.Text("ipMode"), "Proxy", "VIP");
            }

            Hostname(errors, at.Child("hostname"), ingress.Text("hostname"));
        }

        return errors;
    }

    private static void Hostname(List<FieldError> errors, FieldPath path, string name)
    {
        if (name.Length == 0)
        {
            return;
        }

        Validating.Messages(errors, path, name, Names.IsDns1123Subdomain(name));
        if (Validating.IsIP(name, out _))
        {
            errors.Add(FieldError.Invalid(path, name, "must be a DNS name, not an IP address"));
        }
    }

    private static List<FieldError> Counts(JsonObject o, params ReadOnlySpan<string> fields)
    {
        List<FieldError> errors = [];
        foreach (string field in fields)
        {
            Validating.NotNegativeNumber(errors, Status, o.Obj("status"), field);
        }

        return errors;
    }

    private static void NoMoreThan(List<FieldError> errors, JsonObject? status, string limit, string words, params ReadOnlySpan<string> fields)
    {
        long most = status.Long(limit) ?? 0;
        foreach (string field in fields)
        {
            if (status.Long(field) is { } value && value > most)
            {
                errors.Add(FieldError.Invalid(Status.Child(field), value, words));
            }
        }
    }

    private static void NotDecremented(List<FieldError> errors, JsonObject updated, JsonObject old)
    {
        long now = updated.Obj("status").Long("collisionCount") ?? 0;
        if (old.Obj("status").Long("collisionCount") is { } before && now < before)
        {
            errors.Add(FieldError.Invalid(Status.Child("collisionCount"), now, "cannot be decremented"));
        }
    }
}
