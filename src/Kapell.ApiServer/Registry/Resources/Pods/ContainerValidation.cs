using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>The three lists of containers of a pod (core validation: validateContainers and its siblings).</summary>
internal static class ContainerValidation
{
    private const string NotForInit = "may not be set for init containers without restartPolicy=Always";
    private const string NotForEphemeral = "may not be set for ephemeral containers";
    private static readonly string[] OfSidecarsOnly = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];
    private static readonly string[] NotOfEphemeral = ["ports", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "resizePolicy"];

    public static void All(List<FieldError> errors, JsonObject spec, FieldPath path, HashSet<string> volumes, bool isPod)
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        HashSet<string> hostPorts = new(StringComparer.Ordinal);
        bool hostNetwork = spec.Bool("hostNetwork") == true;
        if (!spec.HasItems("containers"))
        {
            errors.Add(FieldError.Required(path.Child("containers"), ""));
        }

        int i = 0;
        foreach (JsonObject container in spec.Items("containers"))
        {
            FieldPath at = path.Child("containers").Index(i++);
            Common(errors, container, at, volumes, names);
            ProbeValidation.OfContainer(errors, container, at);
            RestartPolicy(errors, container, at);
            HostPorts(errors, container, at, hostPorts, hostNetwork, isPod);
        }

        i = 0;
        foreach (JsonObject container in spec.Items("initContainers"))
        {
            FieldPath at = path.Child("initContainers").Index(i++);
            Common(errors, container, at, volumes, names);
            RestartPolicy(errors, container, at);
            if (container.Text("restartPolicy") == "Always")
            {
                ProbeValidation.OfContainer(errors, container, at);
            }
            else
            {
                Forbidden(errors, container, at, OfSidecarsOnly, NotForInit);
            }

            // Init containers run one after the other: each only has to agree with itself.
            HostPorts(errors, container, at, new(StringComparer.Ordinal), hostNetwork, isPod);
        }

        i = 0;
        foreach (JsonObject container in spec.Items("ephemeralContainers"))
        {
            FieldPath at = path.Child("ephemeralContainers").Index(i++);
            Common(errors, container, at, volumes, names);
            Forbidden(errors, container, at, NotOfEphemeral, NotForEphemeral);
            Ephemeral(errors, spec, container, at);
        }
    }

    private static void Common(List<FieldError> errors, JsonObject container, FieldPath path, HashSet<string> volumes, HashSet<string> names)
    {
        string name = container.Text("name");
        Validating.RequiredName(errors, path.Child("name"), name, Names.IsDns1123Label);
        if (name.Length > 0 && !names.Add(name))
        {
            errors.Add(FieldError.Duplicate(path.Child("name"), name));
        }

        string image = container.Text("image");
        if (image.Length == 0)
        {
            errors.Add(FieldError.Required(path.Child("image"), ""));
        }
        else if (image.Trim().Length != image.Length)
        {
            errors.Add(FieldError.Invalid(path.Child("image"), image, "must not have leading or trailing whitespace"));
        }

        PodSpecValidation.Choice(
            errors, path.Child("terminationMessagePolicy"), container.Text("terminationMessagePolicy"), "File", "FallbackToLogsOnError");
        Ports(errors, container, path.Child("ports"));
        EnvValidation.Validate(errors, container, path);
        VolumeValidation.Mounts(errors, container, path, volumes);
        PodSpecValidation.Choice(errors, path.Child("imagePullPolicy"), container.Text("imagePullPolicy"), "Always", "IfNotPresent", "Never");
        ResourceValidation.Requirements(errors, container.Obj("resources"), path.Child("resources"));
        SecurityContextValidation.Container(errors, container.Obj("securityContext"), path.Child("securityContext"));
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
            if (container.Has(field) && container[field] is not JsonArray { Count: 0 })
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

    private static void HostPorts(
        List<FieldError> errors, JsonObject container, FieldPath path, HashSet<string> taken, bool hostNetwork, bool isPod)
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

            if (hostNetwork && (isPod || hostPort != 0) && hostPort != port.Long("containerPort"))
            {
                errors.Add(FieldError.Invalid(at, hostPort, "must match `containerPort` when `hostNetwork` is true"));
            }
        }
    }

    private static void Ephemeral(List<FieldError> errors, JsonObject spec, JsonObject container, FieldPath path)
    {
        if (container.Obj("resources") is { } resources && (resources.Has("requests") || resources.Has("limits")))
        {
            errors.Add(FieldError.Forbidden(path.Child("resources"), "cannot be set for an Ephemeral Container"));
        }

        string target = container.Text("targetContainerName");
        if (target.Length > 0 && !spec.Items("containers").Concat(spec.Items("initContainers")).Any(c => c.Text("name") == target))
        {
            errors.Add(FieldError.NotFound(path.Child("targetContainerName"), target));
        }

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
