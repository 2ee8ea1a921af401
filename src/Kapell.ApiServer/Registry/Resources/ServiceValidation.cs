using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>Services (core validation: ValidateService).</summary>
internal static class ServiceValidation
{
    private const string ExternalName = "ExternalName";
    private const string LoadBalancer = "LoadBalancer";
    private const long StickySecondsMax = 86400;
    private static readonly FieldPath Spec = FieldPath.New("spec");

    public static List<FieldError> Service(JsonObject service)
    {
        List<FieldError> errors = [];
        JsonObject spec = service.Obj("spec") ?? [];
        string type = spec.Text("type");
        bool headless = spec.Text("clusterIP") == "None";
        if (!spec.HasItems("ports") && !headless && type != ExternalName)
        {
            errors.Add(FieldError.Required(Spec.Child("ports"), ""));
        }

        OfType(errors, spec, type, headless);
        EachPort(errors, spec);
        errors.AddRange(ObjectMetaValidation.ValidateLabels(spec.Obj("selector"), Spec.Child("selector")));
        Affinity(errors, spec);
        ClusterAddresses(errors, spec);
        int e = 0;
        foreach (string address in spec.Texts("externalIPs"))
        {
            Validating.NotSpecialIP(errors, Spec.Child("externalIPs").Index(e++), address);
        }

        PodSpecValidation.Choice(errors, Spec.Child("type"), type, "ClusterIP", ExternalName, LoadBalancer, "NodePort");
        PortsTogether(errors, spec, type);
        BalancerFields(errors, spec, type);
        Policies(errors, spec, type);
        return errors;
    }

    public static List<FieldError> ServiceUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        JsonObject? now = updated.Obj("spec");
        JsonObject? before = old.Obj("spec");
        // The primary address stays as long as the service has one (core validation: validateServiceClusterIPsRelatedFields).
        bool allocated = before.Text("type") != ExternalName && now.Text("type") != ExternalName;
        if (allocated && before.Text("clusterIP").Length > 0 && now.Text("clusterIP") != before.Text("clusterIP"))
        {
            errors.Add(FieldError.Invalid(Spec.Child("clusterIPs").Index(0), now.Texts("clusterIPs").FirstOrDefault() ?? now.Text("clusterIP"),
                "may not change once set"));
        }

        bool balanced = before.Text("type") == LoadBalancer && now.Text("type") == LoadBalancer;
        if (balanced && now.Text("loadBalancerClass") != before.Text("loadBalancerClass"))
        {
            errors.Add(FieldError.Invalid(Spec.Child("loadBalancerClass"), now?["loadBalancerClass"], "may not change once set"));
        }

        return errors;
    }

    private static void OfType(List<FieldError> errors, JsonObject spec, string type, bool headless)
    {
        switch (type)
        {
            case "NodePort" or LoadBalancer when headless:
                errors.Add(FieldError.Invalid(Spec.Child("clusterIPs").Index(0), "None", $"may not be set to 'None' for {type} services"));
                break;
            case ExternalName:
                if (spec.HasItems("clusterIPs") || spec.Text("clusterIP").Length > 0)
                {
                    errors.Add(FieldError.Forbidden(Spec.Child("clusterIPs"), "may not be set for ExternalName services"));
                }

                foreach (string field in new[] { "ipFamilies", "ipFamilyPolicy" })
                {
                    if (spec.Has(field) && spec[field] is not JsonArray { Count: 0 })
                    {
                        errors.Add(FieldError.Forbidden(Spec.Child(field), "may not be set for ExternalName services"));
                    }
                }

                string name = spec.Text("externalName") is var given && given.EndsWith('.') ? given[..^1] : given;
                if (name.Length == 0)
                {
                    errors.Add(FieldError.Required(Spec.Child("externalName"), ""));
                }
                else
                {
                    Validating.Messages(errors, Spec.Child("externalName"), name, Names.IsDns1123Subdomain(name));
                }

                break;
        }
    }

    private static void EachPort(List<FieldError> errors, JsonObject spec)
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        int count = spec.Arr("ports")?.Count ?? 0;
        int i = 0;
        foreach (JsonObject port in spec.Items("ports"))
        {
            OnePort(errors, Spec.Child("ports").Index(i++), port, names, count > 1);
        }
    }

    private static void PortsTogether(List<FieldError> errors, JsonObject spec, string type)
    {
        HashSet<(string, long)> seen = [];
        HashSet<(string, long)> nodePorts = [];
        List<FieldError> duplicates = [];
        int i = 0;
        foreach (JsonObject port in spec.Items("ports"))
        {
            FieldPath at = Spec.Child("ports").Index(i++);
            string protocol = port.Text("protocol");
            long nodePort = port.Long("nodePort") ?? 0;
            if (nodePort != 0 && type == "ClusterIP")
            {
                errors.Add(FieldError.Forbidden(at.Child("nodePort"), "may not be used when `type` is 'ClusterIP'"));
            }

            if (nodePort != 0 && !nodePorts.Add((protocol, nodePort)))
            {
                errors.Add(FieldError.Duplicate(at.Child("nodePort"), nodePort));
            }

            long number = port.Long("port") ?? 0;
            if (!seen.Add((protocol, number)))
            {
                // The internal type's fields, which upstream prints.
                duplicates.Add(FieldError.Duplicate(at, new JsonObject
                {
                    ["Name"] = "", ["Protocol"] = protocol, ["AppProtocol"] = null, ["Port"] = number, ["TargetPort"] = 0, ["NodePort"] = 0,
                }));
            }
        }

        errors.AddRange(duplicates);
    }

    private static void OnePort(List<FieldError> errors, FieldPath path, JsonObject port, HashSet<string> names, bool nameRequired)
    {
        string name = port.Text("name");
        if (nameRequired && name.Length == 0)
        {
            errors.Add(FieldError.Required(path.Child("name"), ""));
        }
        else if (name.Length > 0)
        {
            Validating.Messages(errors, path.Child("name"), name, Names.IsDns1123Label(name));
            if (!names.Add(name))
            {
                errors.Add(FieldError.Duplicate(path.Child("name"), name));
            }
        }

        ContainerValidation.PortNumber(errors, path.Child("port"), port.Long("port") ?? 0);
        PodSpecValidation.Choice(errors, path.Child("protocol"), port.Text("protocol"), "SCTP", "TCP", "UDP");
        ProbeValidation.PortNumberOrName(errors, path.Child("targetPort"), port["targetPort"]);
        if (port.Text("appProtocol") is { Length: > 0 } application)
        {
            Validating.Messages(errors, path.Child("appProtocol"), application, Names.IsQualifiedName(application));
        }
    }

    private static void Affinity(List<FieldError> errors, JsonObject spec)
    {
        string affinity = spec.Text("sessionAffinity");
        PodSpecValidation.Choice(errors, Spec.Child("sessionAffinity"), affinity, "ClientIP", "None");
        if (affinity == "ClientIP")
        {
            long seconds = spec.Obj("sessionAffinityConfig", "clientIP").Long("timeoutSeconds") ?? 0;
            if (seconds is <= 0 or > StickySecondsMax)
            {
                errors.Add(FieldError.Invalid(Spec.Child("sessionAffinityConfig", "clientIP", "timeoutSeconds"), seconds,
                    $"must be greater than 0 and less than {StickySecondsMax}"));
            }
        }
        else if (spec.Has("sessionAffinityConfig"))
        {
            errors.Add(FieldError.Forbidden(Spec.Child("sessionAffinityConfig"), "must not be set when session affinity is None"));
        }
    }

    private static void ClusterAddresses(List<FieldError> errors, JsonObject spec)
    {
        int i = 0;
        foreach (string address in spec.Texts("clusterIPs"))
        {
            FieldPath at = Spec.Child("clusterIPs").Index(i);
            if (address == "None" && i > 0)
            {
                errors.Add(FieldError.Invalid(at, address, "'None' must be the first and only value"));
            }
            else if (address != "None")
            {
                Validating.IP(errors, at, address);
            }

            i++;
        }
    }

    private static void BalancerFields(List<FieldError> errors, JsonObject spec, string type)
    {
        const string Only = "may only be used when `type` is 'LoadBalancer'";
        if (spec.HasItems("loadBalancerSourceRanges"))
        {
            FieldPath path = Spec.Child("LoadBalancerSourceRanges");
            if (type != LoadBalancer)
            {
                errors.Add(FieldError.Forbidden(path, Only));
            }

            int i = 0;
            foreach (string range in spec.Texts("loadBalancerSourceRanges"))
            {
                Validating.Cidr(errors, path.Index(i++), range.Trim());
            }
        }

        foreach (string field in new[] { "allocateLoadBalancerNodePorts", "loadBalancerClass" })
        {
            if (type != LoadBalancer && spec.Has(field))
            {
                errors.Add(FieldError.Forbidden(Spec.Child(field), Only));
            }
        }

        if (spec.Text("loadBalancerClass") is { Length: > 0 } name && type == LoadBalancer)
        {
            Validating.Messages(errors, Spec.Child("loadBalancerClass"), name, Names.IsQualifiedName(name));
        }
    }

    private static void Policies(List<FieldError> errors, JsonObject spec, string type)
    {
        if (spec.Text("externalTrafficPolicy") is { Length: > 0 } external)
        {
            if (type is LoadBalancer or "NodePort" || (type == "ClusterIP" && spec.HasItems("externalIPs")))
            {
                Validating.OneOf(errors, Spec.Child("externalTrafficPolicy"), external, "Cluster", "Local");
            }
            else
            {
                errors.Add(FieldError.Invalid(Spec.Child("externalTrafficPolicy"), external, "may only be set for externally-accessible services"));
            }
        }

        bool healthChecked = type == LoadBalancer && spec.Text("externalTrafficPolicy") == "Local";
        if (!healthChecked && spec.Long("healthCheckNodePort") is { } check and not 0)
        {
            errors.Add(FieldError.Invalid(Spec.Child("healthCheckNodePort"), check,
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"));
        }

        if (spec.Has("trafficDistribution"))
        {
            Validating.OneOf(errors, Spec.Child("trafficDistribution"), spec.Text("trafficDistribution"), "PreferClose", "PreferSameNode", "PreferSameZone");
        }

        if (spec.Has("internalTrafficPolicy"))
        {
            Validating.OneOf(errors, Spec.Child("internalTrafficPolicy"), spec.Text("internalTrafficPolicy"), "Cluster", "Local");
        }
    }
}
