using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>The three lists of containers of a pod (core validation: validateContainers and its siblings).</summary>
internal static class ContainerValidation
{
    private const string NotForInit = "may not be set for init containers without restartPolicy=Always";
    private const string NotForEphemeral = "cannot be set for an Ephemeral Container";
    private static readonly string[] OfSidecarsOnly = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];
    private static readonly string[] NotOfEphemeral = ["ports", "resources", "resizePolicy", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"];

    public static void All(List<FieldError> errors, JsonObject spec, FieldPath path, HashSet<string> volumes, bool isPod)
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        HashSet<string> hostPorts = new(StringComparer.Ordinal);
        long? grace = spec.Long("terminationGracePeriodSeconds");
        FieldPath containers = path.Child("containers");
        if (!spec.HasItems("containers"))
        {
            errors.Add(FieldError.Required(containers, ""));
        }

        int i = 0;
        foreach (JsonObject container in spec.Items("containers"))
        {
            FieldPath at = containers.Index(i++);
            Common(errors, container, at, volumes, spec);
            Unique(errors, container, at, names);
            ProbeValidation.OfContainer(errors, container, at, grace);
            RestartPolicy(errors, container, at);
        }

        i = 0;
        foreach (JsonObject container in spec.Items("containers"))
        {
            HostPorts(errors, container, containers.Index(i++), hostPorts);
        }

        InitContainers(errors, spec, path.Child("initContainers"), volumes, names, grace);
        i = 0;
        foreach (JsonObject container in spec.Items("ephemeralContainers"))
        {
            FieldPath at = path.Child("ephemeralContainers").Index(i++);
            Common(errors, container, at, volumes, spec);
            Spaces(errors, container, at);
            Unique(errors, container, at, names);
            Ephemeral(errors, spec, container, at);
        }

        if (spec.Bool("hostNetwork") == true)
        {
            HostNetworkPorts(errors, spec, containers, isPod);
        }
    }

    /// <summary>What only a pod itself is asked for, after everything else; templates in store may have it otherwise.</summary>
    public static void OnlyForPods(List<FieldError> errors, JsonObject spec, FieldPath path)
    {
        foreach (string list in new[] { "containers", "initContainers" })
        {
            int i = 0;
            foreach (JsonObject container in spec.Items(list))
            {
                Spaces(errors, container, path.Child(list).Index(i++));
            }
        }
    }

    private static void InitContainers(
        List<FieldError> errors, JsonObject spec, FieldPath path, HashSet<string> volumes, HashSet<string> names, long? grace)
    {
        int i = 0;
        foreach (JsonObject container in spec.Items("initContainers"))
        {
            FieldPath at = path.Index(i++);
            Common(errors, container, at, volumes, spec);
            RestartPolicy(errors, container, at);
            Unique(errors, container, at, names);
            // Init containers run one after the other: each only has to agree with itself.
            HostPorts(errors, container, path.Index(0), new(StringComparer.Ordinal));
            if (container.Text("restartPolicy") == "Always")
            {
                ProbeValidation.OfContainer(errors, container, at, grace);
            }
            else
            {
                Forbidden(errors, container, at, OfSidecarsOnly, NotForInit);
            }
        }
    }

    private static void Unique(List<FieldError> errors, JsonObject container, FieldPath path, HashSet<string> names)
    {
        string name = container.Text("name");
        if (name.Length > 0 && !names.Add(name))
        {
            errors.Add(FieldError.Duplicate(path.Child("name"), name));
        }
    }

    private static void Spaces(List<FieldError> errors, JsonObject container, FieldPath path)
    {
        string image = container.Text("image");
        if (image.Trim().Length != image.Length)
        {
            errors.Add(FieldError.Invalid(path.Child("image"), image, "must not have leading or trailing whitespace"));
        }
    }

    private static void Common(List<FieldError> errors, JsonObject container, FieldPath path, HashSet<string> volumes, JsonObject spec)
    {
        Validating.RequiredName(errors, path.Child("name"), container.Text("name"), Names.IsDns1123Label);
        Validating.RequiredText(errors, path, container, "image");
        PodSpecValidation.Choice(
            errors, path.Child("terminationMessagePolicy"), container.Text("terminationMessagePolicy"), "File", "FallbackToLogsOnError");
        Ports(errors, container, path.Child("ports"));
        EnvValidation.Validate(errors, container, path);
        VolumeValidation.Mounts(errors, container, path, volumes, spec);
        PodSpecValidation.Choice(errors, path.Child("imagePullPolicy"), container.Text("imagePullPolicy"), "Always", "IfNotPresent", "Never");
        ResourceValidation.Requirements(errors, container.Obj("resources"), path.Child("resources"));
        ResizePolicy(errors, container, path.Child("resizePolicy"), spec.Text("restartPolicy"));
        SecurityContextValidation.Container(errors, container.Obj("securityContext"), path.Child("securityContext"));
    }

    private static void ResizePolicy(List<FieldError> errors, JsonObject container, FieldPath path, string restartPolicy)
    {
        HashSet<string> resources = new(StringComparer.Ordinal);
        int i = 0;
        foreach (JsonObject policy in container.Items("resizePolicy"))
        {
            string resource = policy.Text("resourceName");
            string restart = policy.Text("restartPolicy");
            if (!resources.Add(resource))
            {
                errors.Add(FieldError.Duplicate(path.Index(i), resource));
            }

            i++;
            PodSpecValidation.Choice(errors, path, resource, "cpu", "memory");
            PodSpecValidation.Choice(errors, path, restart, "NotRequired", "RestartContainer");
            if (restartPolicy == "Never" && restart != "NotRequired")
            {
                errors.Add(FieldError.Invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'"));
            }
        }
    }

    private static void RestartPolicy(List<FieldError> errors, JsonObject container, FieldPath path)
    {
        if (container.Has("restartPolicy"))
        {
            Validating.OneOf(errors, path.Child("restartPolicy"), container.Text("restartPolicy"), "Always", "Never", "OnFailure");
        }
    }

    private static void Forbidden(List<FieldError> errors, JsonObject container, FieldPath path, string[] fields, string why)
    {
        foreach (string field in fields)
        {
            if (container.Has(field) && container[field] is not JsonArray { Count: 0 } && !(field == "resources" && container.Obj(field) is { Count: 0 }))
            {
                errors.Add(FieldError.Forbidden(path.Child(field), why));
            }
        }
    }

    private static void Ports(List<FieldError> errors, JsonObject container, FieldPath path)
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        int i = 0;
        foreach (JsonObject port in container.Items("ports"))
        {
            FieldPath at = path.Index(i++);
            string name = port.Text("name");
            if (name.Length > 0)
            {
                IReadOnlyList<string> faults = Names.IsPortName(name);
                Validating.Messages(errors, at.Child("name"), name, faults);
                if (faults.Count == 0 && !names.Add(name))
                {
                    errors.Add(FieldError.Duplicate(at.Child("name"), name));
                }
            }

            long number = port.Long("containerPort") ?? 0;
            if (number == 0)
            {
                errors.Add(FieldError.Required(at.Child("containerPort"), ""));
            }
            else
            {
                PortNumber(errors, at.Child("containerPort"), number);
            }

            if (port.Long("hostPort") is { } hostPort and not 0)
            {
                PortNumber(errors, at.Child("hostPort"), hostPort);
            }

            PodSpecValidation.Choice(errors, at.Child("protocol"), port.Text("protocol"), "SCTP", "TCP", "UDP");
        }
    }

    public static void PortNumber(List<FieldError> errors, FieldPath path, long port) =>
        errors.AddRange(Names.IsPortNumber(port).Select(m => FieldError.Invalid(path, port, m)));

    private static void HostPorts(List<FieldError> errors, JsonObject container, FieldPath path, HashSet<string> taken)
    {
        int i = 0;
        foreach (JsonObject port in container.Items("ports"))
        {
            FieldPath at = path.Child("ports").Index(i++).Child("hostPort");
            long hostPort = port.Long("hostPort") ?? 0;
            string key = $"{port.Text("protocol")}/{port.Text("hostIP")}/{hostPort}";
            if (hostPort != 0 && !taken.Add(key))
            {
                errors.Add(FieldError.Duplicate(at, key));
            }
        }
    }

    private static void HostNetworkPorts(List<FieldError> errors, JsonObject spec, FieldPath path, bool isPod)
    {
        int c = 0;
        foreach (JsonObject container in spec.Items("containers"))
        {
            FieldPath ports = path.Index(c++).Child("ports");
            int i = 0;
            foreach (JsonObject port in container.Items("ports"))
            {
                FieldPath at = ports.Index(i++).Child("hostPort");
                long hostPort = port.Long("hostPort") ?? 0;
                if ((isPod || hostPort != 0) && hostPort != port.Long("containerPort"))
                {
                    errors.Add(FieldError.Invalid(at, hostPort, "must match `containerPort` when `hostNetwork` is true"));
                }
            }
        }
    }

    private static void Ephemeral(List<FieldError> errors, JsonObject spec, JsonObject container, FieldPath path)
    {
        string target = container.Text("targetContainerName");
        if (target.Length > 0 && !spec.Items("containers").Concat(spec.Items("initContainers")).Any(c => c.Text("name") == target))
        {
            errors.Add(FieldError.NotFound(path.Child("targetContainerName"), target));
        }

        Forbidden(errors, container, path, NotOfEphemeral, NotForEphemeral);

        int i = 0;
        foreach (JsonObject mount in container.Items("volumeMounts"))
        {
            FieldPath at = path.Child("volumeMounts").Index(i++);
            foreach (string field in new[] { "subPath", "subPathExpr" })
            {
                if (mount.Text(field).Length > 0)
                {
                    errors.Add(FieldError.Forbidden(at.Child(field), "cannot be set for an Ephemeral Container"));
                }
            }
        }
    }
}
