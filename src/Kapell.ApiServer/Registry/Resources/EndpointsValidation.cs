using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 Endpoints and discovery.k8s.io/v1 EndpointSlice (pkg/apis/core/validation, pkg/apis/discovery/validation).</summary>
internal static class EndpointsValidation
{
    private const int EndpointsMax = 1000;
    private const int PortsMax = 20_000;
    private const int AddressesMax = 100;

    public static List<FieldError> Slice(JsonObject o)
    {
        List<FieldError> errors = [];
        string type = o.Text("addressType");
        if (type.Length == 0)
        {
            errors.Add(FieldError.Required(FieldPath.New("addressType"), ""));
        }
        else
        {
            Validating.OneOf(errors, FieldPath.New("addressType"), type, "FQDN", "IPv4", "IPv6");
        }

        FieldPath path = FieldPath.New("endpoints");
        if (o.Arr("endpoints") is { Count: > EndpointsMax } endpoints)
        {
            errors.Add(FieldError.TooMany(path, endpoints.Count, EndpointsMax));
            return errors;
        }

        int i = 0;
        foreach (JsonObject endpoint in o.Items("endpoints"))
        {
            Endpoint(errors, path.Index(i++), endpoint, type);
        }

        SlicePorts(errors, o);
        return errors;
    }

    public static List<FieldError> Endpoints(JsonObject o)
    {
        List<FieldError> errors = [];
        int i = 0;
        foreach (JsonObject subset in o.Items("subsets"))
        {
            FieldPath path = FieldPath.New("subsets").Index(i++);
            if (!subset.HasItems("addresses") && !subset.HasItems("notReadyAddresses"))
            {
                errors.Add(FieldError.Required(path, "must specify `addresses` or `notReadyAddresses`"));
            }

            foreach (string list in new[] { "addresses", "notReadyAddresses" })
            {
                int a = 0;
                foreach (JsonObject address in subset.Items(list))
                {
                    Validating.NotSpecialIP(errors, path.Child(list).Index(a++).Child("ip"), address.Text("ip"));
                }
            }

            int count = subset.Arr("ports")?.Count ?? 0;
            int p = 0;
            foreach (JsonObject port in subset.Items("ports"))
            {
                EndpointPort(errors, path.Child("ports").Index(p++), port, count > 1);
            }
        }

        return errors;
    }

    private static void EndpointPort(List<FieldError> errors, FieldPath path, JsonObject port, bool nameRequired)
    {
        string name = port.Text("name");
        if (nameRequired || name.Length > 0)
        {
            Validating.RequiredName(errors, path.Child("name"), name, Names.IsDns1123Label);
        }

        PodPort(errors, path.Child("port"), port.Long("port") ?? 0);
        if (port.Text("protocol").Length == 0)
        {
            errors.Add(FieldError.Required(path.Child("protocol"), ""));
        }
        else
        {
            Validating.OneOf(errors, path.Child("protocol"), port.Text("protocol"), "SCTP", "TCP", "UDP");
        }
    }

    private static void PodPort(List<FieldError> errors, FieldPath path, long port) =>
        errors.AddRange(Names.IsPortNumber(port).Select(m => FieldError.Invalid(path, port, m)));

    private static void Endpoint(List<FieldError> errors, FieldPath path, JsonObject endpoint, string type)
    {
        string[] addresses = [.. endpoint.Texts("addresses")];
        if (addresses.Length == 0)
        {
            errors.Add(FieldError.Required(path.Child("addresses"), "must contain at least 1 address"));
        }
        else if (addresses.Length > AddressesMax)
        {
            errors.Add(FieldError.TooMany(path.Child("addresses"), addresses.Length, AddressesMax));
        }

        for (int i = 0; i < Math.Min(addresses.Length, AddressesMax); i++)
        {
            FieldPath at = path.Child("addresses").Index(i);
            if (type == "FQDN")
            {
                Validating.Messages(errors, at, addresses[i], Names.IsDns1123Subdomain(addresses[i]));
            }
            else if (type is "IPv4" or "IPv6")
            {
                if (!Validating.IsIP(addresses[i], out bool v6) || v6 != (type == "IPv6"))
                {
                    errors.Add(FieldError.Invalid(at, addresses[i], $"must be a valid {type} address"));
                }

                Validating.NotSpecialIP(errors, at, addresses[i]);
            }
        }

        if (endpoint.Text("nodeName") is { Length: > 0 } node)
        {
            Validating.Messages(errors, path.Child("nodeName"), node, Names.IsDns1123Subdomain(node));
        }

        if (endpoint.Has("hostname"))
        {
            Validating.Messages(errors, path.Child("hostname"), endpoint.Text("hostname"), Names.IsDns1123Label(endpoint.Text("hostname")));
        }
    }

    private static void SlicePorts(List<FieldError> errors, JsonObject o)
    {
        FieldPath path = FieldPath.New("ports");
        if (o.Arr("ports") is { Count: > PortsMax } ports)
        {
            errors.Add(FieldError.TooMany(path, ports.Count, PortsMax));
            return;
        }

        HashSet<string> names = new(StringComparer.Ordinal);
        int i = 0;
        foreach (JsonObject port in o.Items("ports"))
        {
            FieldPath at = path.Index(i++);
            string name = port.Text("name");
            if (name.Length > 0)
            {
                Validating.Messages(errors, at.Child("name"), name, Names.IsDns1123Label(name));
            }

            if (!names.Add(name))
            {
                errors.Add(FieldError.Duplicate(at.Child("name"), name));
            }

            if (port.Has("port"))
            {
                PodPort(errors, at.Child("port"), port.Long("port") ?? 0);
            }

            Validating.OneOf(errors, at.Child("protocol"), port.Text("protocol"), "SCTP", "TCP", "UDP");
            if (port.Has("appProtocol"))
            {
                Validating.Messages(errors, at.Child("appProtocol"), port.Text("appProtocol"), Names.IsQualifiedName(port.Text("appProtocol")));
            }
        }
    }
}
