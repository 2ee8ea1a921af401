using System.Text;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>A pod as a whole, and what an update of it may change (core validation: ValidatePodCreate, ValidatePodUpdate).</summary>
internal static class PodValidation
{
    private const string Updatable = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
        + "`spec.tolerations` (only additions to existing tolerations),"
        + "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

    private const int DifferencesMax = 20;
    private static readonly FieldPath Spec = FieldPath.New("spec");

    public static List<FieldError> Pod(JsonObject pod)
    {
        List<FieldError> errors = [];
        PodSpecValidation.Validate(errors, pod.Obj("spec") ?? [], Spec, isPod: true);
        ContainerValidation.OnlyForPods(errors, pod.Obj("spec") ?? [], Spec);
        return errors;
    }

    /// <summary>What only a new pod is asked for (ValidatePodCreate).</summary>
    public static List<FieldError> PodCreate(JsonObject pod)
    {
        List<FieldError> errors = [];
        JsonObject? spec = pod.Obj("spec");
        if (spec.HasItems("ephemeralContainers"))
        {
            errors.Add(FieldError.Forbidden(Spec.Child("ephemeralContainers"), "cannot be set on create"));
        }

        if (spec.Text("nodeName").Length > 0 && spec.HasItems("schedulingGates"))
        {
            errors.Add(FieldError.Forbidden(Spec.Child("nodeName"), "cannot be set until all schedulingGates have been cleared"));
        }

        return errors;
    }

    public static List<FieldError> PodUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        JsonObject now = updated.Obj("spec")?.DeepClone().AsObject() ?? [];
        JsonObject before = old.Obj("spec") ?? [];
        foreach (string list in new[] { "containers", "initContainers" })
        {
            if ((now.Arr(list)?.Count ?? 0) != (before.Arr(list)?.Count ?? 0))
            {
                errors.Add(FieldError.Forbidden(Spec.Child(list), "pod updates may not add or remove containers"));
                return errors;
            }

            foreach ((JsonObject mine, JsonObject theirs) in now.Items(list).Zip(before.Items(list)))
            {
                mine.TakeFrom("image", theirs);
            }
        }

        Deadline(errors, now, before);
        Gates(errors, now, before);
        Tolerations(errors, now, before);
        if (before.Long("terminationGracePeriodSeconds") < 0 && now.Long("terminationGracePeriodSeconds") == 1)
        {
            now.TakeFrom("terminationGracePeriodSeconds", before);
        }

        // A gated pod is not scheduled yet: its constraints may still become narrower (KEP-3838).
        if (before.HasItems("schedulingGates"))
        {
            now.TakeFrom("nodeSelector", before);
            now.TakeFrom("affinity", before);
        }

        foreach (string field in new[] { "activeDeadlineSeconds", "tolerations", "schedulingGates" })
        {
            now.TakeFrom(field, before);
        }

        if (!now.SameAs(before))
        {
            StringBuilder differences = new();
            Differences(differences, "spec", now, before);
            errors.Add(FieldError.Forbidden(Spec, $"pod updates may not change fields other than {Updatable}\n{differences}"));
        }

        return errors;
    }

    public static List<FieldError> StatusUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        FieldPath path = FieldPath.New("status");
        JsonObject? now = updated.Obj("status");
        JsonObject? before = old.Obj("status");
        int i = 0;
        foreach (string type in now.Items("conditions").Select(c => c.Text("type")))
        {
            // Upstream's path: the conditions of a pod's status, found under its metadata.
            FieldPath at = FieldPath.New("metadata", "conditions").Index(i++).Child("Type");
            Validating.Messages(errors, at, type, Names.IsQualifiedName(type));
        }

        if (now.Text("nominatedNodeName") is { Length: > 0 } nominated && nominated != before.Text("nominatedNodeName"))
        {
            Validating.Messages(errors, path.Child("nominatedNodeName"), nominated, Names.IsDns1123Subdomain(nominated));
        }

        Validating.Immutable(errors, path.Child("qosClass"), now?["qosClass"], before?["qosClass"]);
        string policy = old.Obj("spec").Text("restartPolicy");
        HashSet<string> sidecars = [.. old.Obj("spec").Items("initContainers").Where(c => c.Text("restartPolicy") == "Always").Select(c => c.Text("name"))];
        Transitions(errors, path, "containerStatuses", now, before, policy, []);
        Transitions(errors, path, "initContainerStatuses", now, before, policy, sidecars);
        Transitions(errors, path, "ephemeralContainerStatuses", now, before, "Never", []);
        Addresses(errors, path.Child("podIPs"), now, "podIPs");
        if (now.HasItems("hostIPs") && now.Items("hostIPs").First().Text("ip") is var first && first != now.Text("hostIP"))
        {
            errors.Add(FieldError.Invalid(path.Child("hostIPs").Index(0).Child("ip"), first, "must be equal to `hostIP`"));
        }

        Addresses(errors, path.Child("hostIPs"), now, "hostIPs");
        return errors;
    }

    /// <summary>What has ended and may not be started again stays ended.</summary>
    private static void Transitions(
        List<FieldError> errors, FieldPath path, string list, JsonObject? now, JsonObject? before, string policy, HashSet<string> sidecars)
    {
        if (policy == "Always")
        {
            return;
        }

        int i = 0;
        foreach (JsonObject old in before.Items(list))
        {
            FieldPath at = path.Child(list).Index(i++).Child("state");
            string name = old.Text("name");
            bool mayRestart = policy == "OnFailure" && (old.Obj("state", "terminated").Long("exitCode") ?? 0) != 0;
            if (!old.Obj("state").Has("terminated") || mayRestart || sidecars.Contains(name))
            {
                continue;
            }

            if (now.Items(list).Any(s => s.Text("name") == name && !s.Obj("state").Has("terminated")))
            {
                errors.Add(FieldError.Forbidden(at, "may not be transitioned to non-terminated state"));
            }
        }
    }

    private static void Addresses(List<FieldError> errors, FieldPath path, JsonObject? status, string list)
    {
        string[] addresses = [.. status.Items(list).Select(a => a.Text("ip"))];
        int families = 0;
        for (int i = 0; i < addresses.Length; i++)
        {
            Validating.IP(errors, path.Index(i), addresses[i]);
            _ = Validating.IsIP(addresses[i], out bool v6);
            families |= v6 ? 2 : 1;
        }

        if (addresses.Length > 2 || (addresses.Length == 2 && families != 3))
        {
            errors.Add(FieldError.Invalid(path, status.Arr(list), "may specify no more than one IP for each IP family"));
        }
    }

    public static List<FieldError> EphemeralContainersUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = Pod(updated);
        FieldPath path = Spec.Child("ephemeralContainers");
        foreach (JsonObject container in old.Obj("spec").Items("ephemeralContainers"))
        {
            string name = container.Text("name");
            JsonObject? still = updated.Obj("spec").Items("ephemeralContainers").FirstOrDefault(c => c.Text("name") == name);
            if (still is null)
            {
                errors.Add(FieldError.Forbidden(path, $"existing ephemeral containers \"{name}\" may not be removed\n"));
            }
            else if (!still.SameAs(container))
            {
                errors.Add(FieldError.Forbidden(path, $"existing ephemeral containers \"{name}\" may not be changed\n"));
            }
        }

        return errors;
    }

    private static void Deadline(List<FieldError> errors, JsonObject now, JsonObject before)
    {
        if (before.Long("activeDeadlineSeconds") is not { } old)
        {
            return;
        }

        FieldPath path = Spec.Child("activeDeadlineSeconds");
        if (now.Long("activeDeadlineSeconds") is not { } deadline)
        {
            errors.Add(FieldError.Invalid(path, null, "must not update from a positive integer to nil value"));
        }
        else if (deadline > old)
        {
            errors.Add(FieldError.Invalid(path, deadline, "must be less than or equal to previous value"));
        }
    }

    private static void Gates(List<FieldError> errors, JsonObject now, JsonObject before)
    {
        HashSet<string> old = [.. before.Items("schedulingGates").Select(g => g.Text("name"))];
        foreach (string name in now.Items("schedulingGates").Select(g => g.Text("name")).Where(n => !old.Contains(n)))
        {
            errors.Add(FieldError.Forbidden(Spec.Child("schedulingGates"), $"only deletion is allowed, but found new scheduling gate '{name}'"));
        }
    }

    /// <summary>Tolerations may be added; of those there are only the seconds may change.</summary>
    private static void Tolerations(List<FieldError> errors, JsonObject now, JsonObject before)
    {
        static JsonObject Timeless(JsonObject toleration)
        {
            JsonObject clone = toleration.DeepClone().AsObject();
            clone.Remove("tolerationSeconds");
            return clone;
        }

        JsonObject[] kept = [.. now.Items("tolerations").Select(Timeless)];
        if (before.Items("tolerations").Select(Timeless).Any(t => !kept.Any(k => k.SameAs(t))))
        {
            errors.Add(FieldError.Forbidden(Spec.Child("tolerations"), "existing toleration can not be modified except its tolerationSeconds"));
        }
    }

    /// <summary>The changed fields, one line each; upstream prints Go structs here, which nothing reads.</summary>
    private static void Differences(StringBuilder text, string path, JsonNode? now, JsonNode? before)
    {
        if (now.SameAs(before) || text.Length > DifferencesMax * 200)
        {
            return;
        }

        if (now is JsonObject a && before is JsonObject b)
        {
            foreach (string name in a.Select(p => p.Key).Union(b.Select(p => p.Key)).ToArray())
            {
                Differences(text, path + "." + name, a[name], b[name]);
            }
        }
        else if (now is JsonArray x && before is JsonArray y && x.Count == y.Count)
        {
            for (int i = 0; i < x.Count; i++)
            {
                Differences(text, $"{path}[{i}]", x[i], y[i]);
            }
        }
        else
        {
            text.Append("- ").Append(path).Append(": ").Append(before?.ToJsonString() ?? "null").Append('\n');
            text.Append("+ ").Append(path).Append(": ").Append(now?.ToJsonString() ?? "null").Append('\n');
        }
    }
}
