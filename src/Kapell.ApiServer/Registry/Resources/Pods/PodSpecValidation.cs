using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>A pod's spec (core validation: ValidatePodSpec), part by part in upstream's order.</summary>
internal static class PodSpecValidation
{
    private const int NameserversMax = 3;
    private const int SearchesMax = 32;
    private const int SearchCharactersMax = 2048;

    public static void Validate(List<FieldError> errors, JsonObject spec, FieldPath path, bool isPod)
    {
        HashSet<string> volumes = VolumeValidation.Volumes(errors, spec, path.Child("volumes"));
        ContainerValidation.All(errors, spec, path, volumes, isPod);
        Choice(errors, path.Child("restartPolicy"), spec.Text("restartPolicy"), "Always", "OnFailure", "Never");
        Choice(errors, path.Child("dnsPolicy"), spec.Text("dnsPolicy"), "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None");
        errors.AddRange(ObjectMetaValidation.ValidateLabels(spec.Obj("nodeSelector"), path.Child("nodeSelector")));
        SecurityContextValidation.Pod(errors, spec, path);
        AffinityValidation.Affinity(errors, spec.Obj("affinity"), path.Child("affinity"));
        DnsConfig(errors, spec, path.Child("dnsConfig"));
        Gates(errors, spec, path);
        AffinityValidation.TopologySpread(errors, spec, path.Child("topologySpreadConstraints"));
        HostUsers(errors, spec, path);
        NamesOfSpec(errors, spec, path);
        AffinityValidation.Tolerations(errors, spec, path.Child("tolerations"));
        HostAliases(errors, spec, path.Child("hostAliases"));
        if (spec.Has("preemptionPolicy"))
        {
            Choice(errors, path.Child("preemptionPolicy"), spec.Text("preemptionPolicy"), "PreemptLowerPriority", "Never");
        }

        ResourceValidation.Overhead(errors, spec.Obj("overhead"), path.Child("overhead"));
        ResourceValidation.Requirements(errors, spec.Obj("resources"), path.Child("resources"));
        if (spec.Obj("os") is { } os)
        {
            Choice(errors, path.Child("os", "name"), os.Text("name"), "linux", "windows");
        }
    }

    /// <summary>A field that takes one of some words and has no empty one; they are named in the order given.</summary>
    public static void Choice(List<FieldError> errors, FieldPath path, string value, params ReadOnlySpan<string> supported)
    {
        if (value.Length == 0)
        {
            errors.Add(FieldError.Required(path, ""));
        }
        else
        {
            errors.AddRange(supported.Contains(value) ? [] : new[] { FieldError.NotSupported(path, value, supported.ToArray()) });
        }
    }

    private static void NamesOfSpec(List<FieldError> errors, JsonObject spec, FieldPath path)
    {
        Name(errors, spec, path, "serviceAccountName", Names.IsDns1123Subdomain);
        Name(errors, spec, path, "nodeName", Names.IsDns1123Subdomain);
        if (spec.Long("activeDeadlineSeconds") is { } deadline && deadline is < 1 or > int.MaxValue)
        {
            errors.Add(FieldError.Invalid(path.Child("activeDeadlineSeconds"), deadline, "must be between 1 and 2147483647, inclusive"));
        }

        Name(errors, spec, path, "hostname", Names.IsDns1123Label);
        Name(errors, spec, path, "subdomain", Names.IsDns1123Label);
        Name(errors, spec, path, "priorityClassName", Names.IsDns1123Subdomain);
        if (spec.Has("runtimeClassName"))
        {
            string runtime = spec.Text("runtimeClassName");
            Validating.Messages(errors, path.Child("runtimeClassName"), runtime, Names.IsDns1123Subdomain(runtime));
        }
    }

    private static void Name(List<FieldError> errors, JsonObject spec, FieldPath path, string field, Func<string, IReadOnlyList<string>> rule)
    {
        if (spec.Text(field) is { Length: > 0 } value)
        {
            Validating.Messages(errors, path.Child(field), value, rule(value));
        }
    }

    /// <summary>A pod in a user namespace of its own shares no other namespace with the host (KEP-127).</summary>
    private static void HostUsers(List<FieldError> errors, JsonObject spec, FieldPath path)
    {
        if (spec.Bool("hostUsers") != false)
        {
            return;
        }

        foreach ((string field, string shown) in new[] { ("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC") })
        {
            if (spec.Bool(field) == true)
            {
                errors.Add(FieldError.Forbidden(path.Child(shown), "when `pod.Spec.HostUsers` is false"));
            }
        }
    }

    private static void DnsConfig(List<FieldError> errors, JsonObject spec, FieldPath path)
    {
        JsonObject? config = spec.Obj("dnsConfig");
        if (spec.Text("dnsPolicy") == "None")
        {
            if (config is null)
            {
                errors.Add(FieldError.Required(path, "must provide `dnsConfig` when `dnsPolicy` is None"));
                return;
            }

            if (!config.HasItems("nameservers"))
            {
                errors.Add(FieldError.Required(path.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None"));
                return;
            }
        }

        if (config.Arr("nameservers") is { Count: > NameserversMax } servers)
        {
            errors.Add(FieldError.Invalid(path.Child("nameservers"), servers, $"must not have more than {NameserversMax} nameservers"));
        }

        int i = 0;
        foreach (string server in config.Texts("nameservers"))
        {
            Validating.IP(errors, path.Child("nameservers").Index(i++), server);
        }

        if (config.Arr("searches") is { Count: > SearchesMax } searches)
        {
            errors.Add(FieldError.Invalid(path.Child("searches"), searches, $"must not have more than {SearchesMax} search paths"));
        }

        if (string.Join(' ', config.Texts("searches")).Length > SearchCharactersMax)
        {
            errors.Add(FieldError.Invalid(path.Child("searches"), config.Arr("searches"),
                $"must not have more than {SearchCharactersMax} characters (including spaces) in the search list"));
        }

        i = 0;
        foreach (string search in config.Texts("searches"))
        {
            FieldPath at = path.Child("searches").Index(i++);
            if (search != ".")
            {
                // Underscores are common in search paths (KEP-4427).
                string name = search.EndsWith('.') ? search[..^1] : search;
                Validating.Messages(errors, at, name, Names.IsDns1123SubdomainWithUnderscore(name));
            }
        }

        i = 0;
        foreach (JsonObject option in config.Items("options"))
        {
            if (option.Text("name").Length == 0)
            {
                errors.Add(FieldError.Required(path.Child("options").Index(i), "must not be empty"));
            }

            i++;
        }
    }

    private static void Gates(List<FieldError> errors, JsonObject spec, FieldPath path)
    {
        int i = 0;
        foreach (JsonObject gate in spec.Items("readinessGates"))
        {
            string type = gate.Text("conditionType");
            Validating.Messages(errors, path.Child("readinessGates").Index(i++).Child("conditionType"), type, Names.IsQualifiedName(type));
        }

        i = 0;
        HashSet<string> seen = new(StringComparer.Ordinal);
        foreach (string name in spec.Items("schedulingGates").Select(g => g.Text("name")))
        {
            FieldPath at = path.Child("schedulingGates").Index(i++);
            Validating.Messages(errors, at, name, Names.IsQualifiedName(name));
            if (!seen.Add(name))
            {
                errors.Add(FieldError.Duplicate(at, name));
            }
        }
    }

    private static void HostAliases(List<FieldError> errors, JsonObject spec, FieldPath path)
    {
        int i = 0;
        foreach (JsonObject alias in spec.Items("hostAliases"))
        {
            FieldPath at = path.Index(i++);
            Validating.IP(errors, at.Child("ip"), alias.Text("ip"));
            int j = 0;
            foreach (string name in alias.Texts("hostnames"))
            {
                Validating.Messages(errors, at.Child("hostnames").Index(j++), name, Names.IsDns1123Subdomain(name));
            }
        }
    }
}
