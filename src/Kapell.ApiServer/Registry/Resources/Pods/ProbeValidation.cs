using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>Probes and lifecycle hooks (core validation: validateProbe, validateLifecycle, validateHandler).</summary>
internal static class ProbeValidation
{
    private static readonly string[] Numbers = ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
    private static readonly string[] Handlers = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

    public static void OfContainer(List<FieldError> errors, JsonObject container, FieldPath path, long? grace)
    {
        if (container.Obj("lifecycle") is { } lifecycle)
        {
            foreach (string hook in new[] { "postStart", "preStop" })
            {
                if (lifecycle.Obj(hook) is { } handler)
                {
                    Handler(errors, path.Child("lifecycle", hook), handler, grace);
                }
            }
        }

        foreach (string name in new[] { "livenessProbe", "readinessProbe", "startupProbe" })
        {
            if (container.Obj(name) is { } probe)
            {
                Probe(errors, path.Child(name), probe, name == "readinessProbe");
            }
        }
    }

    private static void Probe(List<FieldError> errors, FieldPath path, JsonObject probe, bool readiness)
    {
        Handler(errors, path, probe, null);
        foreach (string number in Numbers)
        {
            Validating.NotNegativeNumber(errors, path, probe, number);
        }

        if (probe.Long("terminationGracePeriodSeconds") is <= 0 and var grace)
        {
            errors.Add(FieldError.Invalid(path.Child("terminationGracePeriodSeconds"), grace, "must be greater than 0"));
        }

        if (readiness)
        {
            if (probe.Has("terminationGracePeriodSeconds"))
            {
                errors.Add(FieldError.Invalid(path.Child("terminationGracePeriodSeconds"), probe.Long("terminationGracePeriodSeconds"),
                    "must not be set for readinessProbes"));
            }

            return;
        }

        if (probe.Long("successThreshold") is not 1)
        {
            errors.Add(FieldError.Invalid(path.Child("successThreshold"), probe.Long("successThreshold") ?? 0, "must be 1"));
        }
    }

    private static void Handler(List<FieldError> errors, FieldPath path, JsonObject handler, long? grace)
    {
        int count = 0;
        foreach (string kind in Handlers)
        {
            if (handler.Obj(kind) is not { } action)
            {
                continue;
            }

            if (++count > 1)
            {
                errors.Add(FieldError.Forbidden(path.Child(kind), "may not specify more than 1 handler type"));
                continue;
            }

            Action(errors, path.Child(kind), kind, action, grace);
        }

        if (count == 0)
        {
            errors.Add(FieldError.Required(path, "must specify a handler type"));
        }
    }

    private static void Action(List<FieldError> errors, FieldPath path, string kind, JsonObject action, long? grace)
    {
        switch (kind)
        {
            case "exec" when !action.HasItems("command"):
                errors.Add(FieldError.Required(path.Child("command"), ""));
                break;
            case "httpGet":
                Validating.RequiredText(errors, path, action, "path");
                PortNumberOrName(errors, path.Child("port"), action["port"]);
                Validating.OneOf(errors, path.Child("scheme"), action.Text("scheme"), "HTTP", "HTTPS");
                foreach (string header in action.Items("httpHeaders").Select(h => h.Text("name")))
                {
                    Validating.Messages(errors, path.Child("httpHeaders"), header, Names.IsHttpHeaderName(header));
                }

                break;
            case "tcpSocket":
                PortNumberOrName(errors, path.Child("port"), action["port"]);
                break;
            case "grpc":
                ContainerValidation.PortNumber(errors, path.Child("port"), action.Long("port") ?? 0);
                break;
            case "sleep" when (action.Long("seconds") ?? 0) is var seconds && (seconds < 0 || seconds > grace):
                errors.Add(FieldError.Invalid(path, seconds, $"must be non-negative and less than terminationGracePeriodSeconds ({grace})"));
                break;
        }
    }

    public static void PortNumberOrName(List<FieldError> errors, FieldPath path, JsonNode? port)
    {
        if (port.AsText() is { } name)
        {
            Validating.Messages(errors, path, name, Names.IsPortName(name));
        }
        else
        {
            ContainerValidation.PortNumber(errors, path, port.AsLong() ?? 0);
        }
    }
}
