using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>Ingresses, their classes and network policies (pkg/apis/networking/validation).</summary>
internal static class NetworkingValidation
{
    private static readonly FieldPath Spec = FieldPath.New("spec");
    private static readonly string[] BadSequences = ["//", "/./", "/../", "%2f", "%2F"];
    private static readonly string[] BadSuffixes = ["/..", "/."];

    public static List<FieldError> Ingress(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        if (!spec.HasItems("rules") && !spec.Has("defaultBackend"))
        {
            errors.Add(FieldError.Invalid(Spec, null, "either `defaultBackend` or `rules` must be specified"));
        }

        if (spec.Obj("defaultBackend") is { } backend)
        {
            Backend(errors, backend, Spec.Child("defaultBackend"));
        }

        int i = 0;
        foreach (JsonObject rule in spec.Items("rules"))
        {
            Rule(errors, rule, Spec.Child("rules").Index(i++));
        }

        Tls(errors, spec);
        if (spec.Text("ingressClassName") is { Length: > 0 } name)
        {
            Validating.Messages(errors, Spec.Child("ingressClassName"), name, Names.IsDns1123Subdomain(name));
        }

        return errors;
    }

    public static List<FieldError> IngressClass(JsonObject o)
    {
        List<FieldError> errors = [];
        string controller = o.Obj("spec").Text("controller");
        FieldPath path = Spec.Child("controller");
        if (controller.Length > 250)
        {
            errors.Add(FieldError.TooLong(path, 250));
        }

        if (controller.Length == 0)
        {
            errors.Add(FieldError.Required(path, ""));
        }
        else
        {
            int slash = controller.IndexOf('/', StringComparison.Ordinal);
            if (slash <= 0 || slash == controller.Length - 1)
            {
                errors.Add(FieldError.Invalid(path, controller, "must be a domain-prefixed path (such as \"acme.io/foo\")"));
            }
            else
            {
                Validating.Messages(errors, path, controller[..slash], Names.IsDns1123Subdomain(controller[..slash]));
            }
        }

        Parameters(errors, o.Obj("spec", "parameters"), Spec.Child("parameters"));
        return errors;
    }

    public static List<FieldError> IngressClassUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        Validating.Immutable(errors, Spec.Child("controller"), updated.Obj("spec")?["controller"], old.Obj("spec")?["controller"]);
        return errors;
    }

    public static List<FieldError> NetworkPolicy(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        errors.AddRange(ObjectMetaValidation.ValidateLabelSelector(spec.Obj("podSelector"), Spec.Child("podSelector")));
        foreach ((string list, string peers) in new[] { ("ingress", "from"), ("egress", "to") })
        {
            int i = 0;
            foreach (JsonObject rule in spec.Items(list))
            {
                FieldPath path = Spec.Child(list).Index(i++);
                int p = 0;
                foreach (JsonObject port in rule.Items("ports"))
                {
                    PolicyPort(errors, port, path.Child("ports").Index(p++));
                }

                p = 0;
                foreach (JsonObject peer in rule.Items(peers))
                {
                    Peer(errors, peer, path.Child(peers).Index(p++));
                }
            }
        }

        JsonArray types = spec.Arr("policyTypes") ?? [];
        if (types.Count > 2)
        {
            errors.Add(FieldError.Invalid(Spec.Child("policyTypes"), types, "may not specify more than two policyTypes"));
            return errors;
        }

        int t = 0;
        foreach (string type in spec.Texts("policyTypes"))
        {
            Validating.OneOf(errors, Spec.Child("policyTypes").Index(t++), type, "Egress", "Ingress");
        }

        return errors;
    }

    private static void Rule(List<FieldError> errors, JsonObject rule, FieldPath path)
    {
        string host = rule.Text("host");
        if (host.Length > 0)
        {
            if (Validating.IsIP(host, out _))
            {
                errors.Add(FieldError.Invalid(path.Child("host"), host, "must be a DNS name, not an IP address"));
            }

            Host(errors, path.Child("host"), host);
        }

        if (rule.Obj("http") is not { } http)
        {
            return;
        }

        FieldPath paths = path.Child("http", "paths");
        if (!http.HasItems("paths"))
        {
            errors.Add(FieldError.Required(paths, ""));
        }

        int i = 0;
        foreach (JsonObject one in http.Items("paths"))
        {
            FieldPath at = paths.Index(i++);
            HttpPath(errors, one, at);
            Backend(errors, one.Obj("backend") ?? [], at.Child("backend"));
        }
    }

    private static void Host(List<FieldError> errors, FieldPath path, string host) => Validating.Messages(errors, path, host,
        host.Contains('*') ? Names.IsWildcardDns1123Subdomain(host) : Names.IsDns1123Subdomain(host));

    private static void HttpPath(List<FieldError> errors, JsonObject one, FieldPath path)
    {
        string text = one.Text("path");
        FieldPath at = path.Child("path");
        switch (one.Text("pathType"))
        {
            case "" when !one.Has("pathType"):
                errors.Add(FieldError.Required(path.Child("pathType"), "pathType must be specified"));
                break;
            case "Exact" or "Prefix":
                if (!text.StartsWith('/'))
                {
                    errors.Add(FieldError.Invalid(at, text, "must be an absolute path"));
                }

                errors.AddRange(BadSequences.Where(text.Contains).Select(s => FieldError.Invalid(at, text, $"must not contain '{s}'")));
                errors.AddRange(BadSuffixes.Where(text.EndsWith).Select(s => FieldError.Invalid(at, text, $"cannot end with '{s}'")));
                break;
            case "ImplementationSpecific":
                if (text.Length > 0 && !text.StartsWith('/'))
                {
                    errors.Add(FieldError.Invalid(at, text, "must be an absolute path"));
                }

                break;
            case var other:
                errors.Add(FieldError.NotSupported(path.Child("pathType"), other, ["Exact", "ImplementationSpecific", "Prefix"]));
                break;
        }
    }

    private static void Backend(List<FieldError> errors, JsonObject backend, FieldPath path)
    {
        JsonObject? service = backend.Obj("service");
        if (backend.Has("resource") && service is not null)
        {
            errors.Add(FieldError.Invalid(path, "", "cannot set both resource and service backends"));
            return;
        }

        if (backend.Obj("resource") is { } resource)
        {
            Validating.RequiredText(errors, path.Child("resource"), resource, "kind");
            Validating.RequiredText(errors, path.Child("resource"), resource, "name");
            return;
        }

        if (service is null)
        {
            errors.Add(FieldError.Invalid(path, "", "resource or service backend is required"));
            return;
        }

        Validating.RequiredName(errors, path.Child("service", "name"), service.Text("name"), Names.IsDns1035Label);
        FieldPath port = path.Child("service", "port");
        string name = service.Obj("port").Text("name");
        long number = service.Obj("port").Long("number") ?? 0;
        if (name.Length > 0 && number > 0)
        {
            errors.Add(FieldError.Invalid(path, "", "cannot set both port name & port number"));
        }
        else if (name.Length > 0)
        {
            Validating.Messages(errors, port.Child("name"), name, Names.IsPortName(name));
        }
        else if (number > 0)
        {
            ContainerValidation.PortNumber(errors, port.Child("number"), number);
        }
        else
        {
            errors.Add(FieldError.Required(path, "port name or number is required"));
        }
    }

    private static void Tls(List<FieldError> errors, JsonObject? spec)
    {
        int i = 0;
        foreach (JsonObject tls in spec.Items("tls"))
        {
            FieldPath path = Spec.Child("tls").Index(i++);
            int h = 0;
            foreach (string host in tls.Texts("hosts"))
            {
                Host(errors, path.Child("hosts").Index(h++), host);
            }
        }
    }

    private static void Parameters(List<FieldError> errors, JsonObject? parameters, FieldPath path)
    {
        if (parameters is null)
        {
            return;
        }

        Validating.RequiredText(errors, path, parameters, "kind");
        Validating.RequiredText(errors, path, parameters, "name");
        string scope = parameters.Text("scope");
        PodSpecValidation.Choice(errors, path.Child("scope"), scope, "Cluster", "Namespace");
        if (scope == "Namespace")
        {
            Validating.RequiredText(errors, path, parameters, "namespace");
        }
        else if (scope == "Cluster" && parameters.Has("namespace"))
        {
            errors.Add(FieldError.Forbidden(path.Child("namespace"), "`parameters.scope` is set to 'Cluster'"));
        }
    }

    private static void PolicyPort(List<FieldError> errors, JsonObject port, FieldPath path)
    {
        Validating.OneOf(errors, path.Child("protocol"), port.Text("protocol"), "SCTP", "TCP", "UDP");
        if (!port.Has("port"))
        {
            if (port.Has("endPort"))
            {
                errors.Add(FieldError.Invalid(path.Child("endPort"), port.Long("endPort"), "may not be specified when `port` is not specified"));
            }

            return;
        }

        ProbeValidation.PortNumberOrName(errors, path.Child("port"), port["port"]);
        if (port.Long("endPort") is not { } end)
        {
            return;
        }

        if (port["port"].AsText() is not null)
        {
            errors.Add(FieldError.Invalid(path.Child("endPort"), end, "may not be specified when `port` is non-numeric"));
            return;
        }

        if (port.Long("port") > end)
        {
            errors.Add(FieldError.Invalid(path.Child("endPort"), end, "must be greater than or equal to `port`"));
        }

        ContainerValidation.PortNumber(errors, path.Child("endPort"), end);
    }

    private static void Peer(List<FieldError> errors, JsonObject peer, FieldPath path)
    {
        foreach (string selector in new[] { "podSelector", "namespaceSelector" })
        {
            errors.AddRange(ObjectMetaValidation.ValidateLabelSelector(peer.Obj(selector), path.Child(selector)));
        }

        if (peer.Obj("ipBlock") is { } block)
        {
            FieldPath at = path.Child("ipBlock");
            if (block.Text("cidr").Length == 0)
            {
                errors.Add(FieldError.Required(at.Child("cidr"), ""));
            }
            else
            {
                Validating.Cidr(errors, at.Child("cidr"), block.Text("cidr"));
            }

            int i = 0;
            foreach (string except in block.Texts("except"))
            {
                Validating.Cidr(errors, at.Child("except").Index(i++), except);
            }

            if (peer.Has("podSelector") || peer.Has("namespaceSelector"))
            {
                errors.Add(FieldError.Forbidden(path, "may not specify both ipBlock and another peer"));
            }
        }
        else if (!peer.Has("podSelector") && !peer.Has("namespaceSelector"))
        {
            errors.Add(FieldError.Required(path, "must specify a peer"));
        }
    }
}
