using System.Text.Json.Nodes;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>Upstream's defaults of a pod and of a pod template (pkg/apis/core/v1/defaults.go): what a pod gets, a template does not always.</summary>
internal static class PodDefaults
{
    private static readonly string[] ContainerLists = ["initContainers", "containers", "ephemeralContainers"];
    private static readonly string[] Probes = ["livenessProbe", "readinessProbe", "startupProbe"];

    /// <summary>A pod: what its spec gets, and requests from limits, service links and host ports besides.</summary>
    public static void Pod(JsonObject pod)
    {
        if (pod.Obj("spec") is not { } spec)
        {
            return;
        }

        foreach (JsonObject container in spec.Items("containers").Concat(spec.Items("initContainers")))
        {
            RequestsFromLimits(container);
        }

        PodRequestsFromLimits(spec);
        spec.Default("enableServiceLinks", true);
        if (spec.Bool("hostNetwork") == true)
        {
            foreach (JsonObject port in spec.Items("containers").Concat(spec.Items("initContainers")).SelectMany(c => c.Items("ports")))
            {
                if (port.Long("hostPort") is null or 0 && port.Long("containerPort") is { } containerPort)
                {
                    port["hostPort"] = containerPort;
                }
            }
        }

        Spec(spec);
    }

    /// <summary>The <c>template</c> of a workload.</summary>
    public static void Template(JsonObject? template)
    {
        if (template.Obj("spec") is { } spec)
        {
            Spec(spec);
        }
    }

    private static void Spec(JsonObject spec)
    {
        spec.DefaultText("dnsPolicy", "ClusterFirst");
        spec.DefaultText("restartPolicy", "Always");
        spec.Ensure("securityContext");
        spec.Default("terminationGracePeriodSeconds", 30);
        spec.DefaultText("schedulerName", "default-scheduler");
        ServiceAccount(spec);
        Quantities.Canonicalize(spec.Obj("overhead"));
        Quantities.CanonicalizeRequirements(spec.Obj("resources"));
        foreach (string list in ContainerLists)
        {
            foreach (JsonObject container in spec.Items(list))
            {
                Container(container);
            }
        }

        foreach (JsonObject volume in spec.Items("volumes"))
        {
            VolumeDefaults.Volume(volume);
        }
    }

    /// <summary>The deprecated twin always shows the same name (core/v1 conversion of PodSpec).</summary>
    private static void ServiceAccount(JsonObject spec)
    {
        string name = spec.Text("serviceAccountName");
        name = name.Length > 0 ? name : spec.Text("serviceAccount");
        if (name.Length > 0)
        {
            spec["serviceAccountName"] = name;
            spec["serviceAccount"] = name;
        }
    }

    private static void Container(JsonObject container)
    {
        container.DefaultText("imagePullPolicy", PullPolicy(container.Text("image")));
        container.DefaultText("terminationMessagePath", "/dev/termination-log");
        container.DefaultText("terminationMessagePolicy", "File");
        // A struct, not a pointer, upstream: always written.
        Quantities.CanonicalizeRequirements(container.Ensure("resources"));
        foreach (JsonObject port in container.Items("ports"))
        {
            port.DefaultText("protocol", "TCP");
        }

        foreach (JsonObject source in container.Items("env").Select(e => e.Obj("valueFrom")).OfType<JsonObject>())
        {
            source.Obj("fieldRef")?.DefaultText("apiVersion", "v1");
            source.Obj("fileKeyRef")?.Default("optional", false);
            if (source.Obj("resourceFieldRef") is { } resource)
            {
                resource.Default("divisor", "0");
                Quantities.CanonicalizeField(resource, "divisor");
            }
        }

        foreach (string name in Probes)
        {
            Probe(container.Obj(name));
        }

        HttpGet(container.Obj("lifecycle", "postStart", "httpGet"));
        HttpGet(container.Obj("lifecycle", "preStop", "httpGet"));
    }

    private static void Probe(JsonObject? probe)
    {
        if (probe is null)
        {
            return;
        }

        DefaultNumber(probe, "timeoutSeconds", 1);
        DefaultNumber(probe, "periodSeconds", 10);
        DefaultNumber(probe, "successThreshold", 1);
        DefaultNumber(probe, "failureThreshold", 3);
        HttpGet(probe.Obj("httpGet"));
        probe.Obj("grpc")?.Default("service", "");
    }

    private static void HttpGet(JsonObject? action)
    {
        action?.DefaultText("path", "/");
        action?.DefaultText("scheme", "HTTP");
    }

    private static void DefaultNumber(JsonObject o, string name, long value)
    {
        if (o.Long(name) is null or 0)
        {
            o[name] = value;
        }
    }

    private static void RequestsFromLimits(JsonObject container)
    {
        if (container.Obj("resources", "limits") is not { Count: > 0 } limits)
        {
            return;
        }

        JsonObject requests = container["resources"]!.AsObject().Ensure("requests");
        foreach ((string name, JsonNode? limit) in limits)
        {
            if (requests[name] is null)
            {
                requests[name] = limit?.DeepClone();
            }
        }
    }

    /// <summary>KEP-2837: the pod's own requests are its containers' together, or else the pod's limits.</summary>
    private static void PodRequestsFromLimits(JsonObject spec)
    {
        if (spec.Obj("resources", "limits") is not { Count: > 0 } limits)
        {
            return;
        }

        JsonObject requests = spec["resources"]!.AsObject().Ensure("requests");
        foreach (string name in new[] { "cpu", "memory" })
        {
            if (requests[name] is null && Quantities.SumOfContainerRequests(spec, name) is { } sum)
            {
                requests[name] = sum;
            }
        }

        foreach ((string name, JsonNode? limit) in limits)
        {
            if (requests[name] is null && (name is "cpu" or "memory" || name.StartsWith("hugepages-", StringComparison.Ordinal)))
            {
                requests[name] = limit?.DeepClone();
            }
        }
    }

    /// <summary>Always for the tag latest, said or implied; IfNotPresent else (pkg/util/parsers.ParseImageName).</summary>
    internal static string PullPolicy(string image)
    {
        // What does not parse as an image name has no tag; the checks made elsewhere refuse it.
        if (image.Length == 0 || image.Any(char.IsWhiteSpace))
        {
            return "IfNotPresent";
        }

        int digest = image.IndexOf('@', StringComparison.Ordinal);
        string name = digest >= 0 ? image[..digest] : image;
        int colon = name.LastIndexOf(':');
        string tag = colon > name.LastIndexOf('/') ? name[(colon + 1)..] : digest >= 0 ? "" : "latest";
        return tag == "latest" ? "Always" : "IfNotPresent";
    }
}
