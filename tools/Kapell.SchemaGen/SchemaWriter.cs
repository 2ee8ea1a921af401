using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using k8s.Models;

namespace Kapell.SchemaGen;

/// <summary>
/// Walks the models from the served kinds on and writes one JSON document: <c>{"types": {name: {description, atomic, kinds, fields}}}</c>.
/// Kapell.Machinery's SchemaSet reads it.
/// </summary>
internal sealed partial class SchemaWriter(Facts facts, WireFacts wire, Descriptions descriptions)
{
    private static readonly Type[] Roots =
    [
        typeof(V1Namespace), typeof(V1Node), typeof(V1Pod), typeof(V1ConfigMap), typeof(V1Secret), typeof(V1ServiceAccount),
        typeof(V1Service), typeof(V1Endpoints), typeof(Corev1Event), typeof(V1Binding), typeof(V1PodTemplate),
        typeof(V1PersistentVolume), typeof(V1PersistentVolumeClaim), typeof(V1LimitRange), typeof(V1ResourceQuota), typeof(V1ReplicationController),
        typeof(V1EndpointSlice), typeof(Eventsv1Event), typeof(V1Lease), typeof(V1ReplicaSet), typeof(V1Deployment), typeof(V1DaemonSet),
        typeof(V1StatefulSet), typeof(V1ControllerRevision), typeof(V1Job), typeof(V1CronJob), typeof(V1Role), typeof(V1RoleBinding),
        typeof(V1ClusterRole), typeof(V1ClusterRoleBinding), typeof(V1PriorityClass), typeof(V1RuntimeClass), typeof(V1Eviction),
        typeof(V1PodDisruptionBudget), typeof(V1Scale), typeof(V2HorizontalPodAutoscaler), typeof(V1NetworkPolicy), typeof(V1Ingress),
        typeof(V1IngressClass), typeof(V1StorageClass), typeof(V1CSIDriver), typeof(V1CSINode), typeof(V1VolumeAttachment), typeof(V1CertificateSigningRequest),
        typeof(Authenticationv1TokenRequest), typeof(V1TokenReview), typeof(V1SelfSubjectReview), typeof(V1SubjectAccessReview), typeof(V1LocalSubjectAccessReview),
        typeof(V1SelfSubjectAccessReview), typeof(V1SelfSubjectRulesReview), typeof(V1Status), typeof(V1DeleteOptions),
    ];

    private static readonly Dictionary<Type, string> Plain = new()
    {
        [typeof(string)] = "text", [typeof(int)] = "int32", [typeof(long)] = "int64", [typeof(bool)] = "bool", [typeof(double)] = "double",
        [typeof(byte[])] = "bytes", [typeof(DateTime)] = "time", [typeof(ResourceQuantity)] = "quantity", [typeof(IntOrString)] = "intOrString",
        [typeof(object)] = "raw",
    };

    private readonly SortedDictionary<string, (Type Type, TypeFacts Facts)> _types = new(StringComparer.Ordinal);

    public byte[] Write()
    {
        foreach (Type root in Roots)
        {
            KubernetesEntityAttribute entity = root.GetCustomAttribute<KubernetesEntityAttribute>()!;
            string package = PackageOf(entity, root);
            Visit(root, facts.Find(BaseName(root).Name, null, package));
            Type? list = root.Assembly.GetType(root.FullName + "List");
            if (list is not null)
            {
                Visit(list, facts.Find(BaseName(list).Name, null, package));
            }
        }

        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            json.WriteStartObject();
            json.WriteStartObject("types");
            foreach ((string name, (Type type, TypeFacts known)) in _types)
            {
                json.WriteStartObject(name);
                WriteType(json, type, known);
                json.WriteEndObject();
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return stream.ToArray();
    }

    private static string PackageOf(KubernetesEntityAttribute entity, Type root)
    {
        if (root == typeof(V1Status) || root == typeof(V1DeleteOptions))
        {
            return "io.k8s.apimachinery.pkg.apis.meta.v1";
        }

        string group = entity.Group.Length == 0 ? "core" : entity.Group.Split('.')[0];
        return $"io.k8s.api.{group}.{entity.ApiVersion}";
    }

    // V1Pod, Corev1Event, V2HorizontalPodAutoscaler: group (or none), version, Go's name.
    private static (string? Group, string Name) BaseName(Type type)
    {
        Match match = ModelName().Match(type.Name);
        return match.Success
            ? (match.Groups["group"].Value is { Length: > 0 } g ? g : null, match.Groups["name"].Value)
            : throw new InvalidOperationException($"cannot read the name {type.Name}");
    }

    private static IEnumerable<(PropertyInfo Property, string Name)> Fields(Type type) =>
        type.GetProperties()
            .Select(p => (p, p.GetCustomAttribute<JsonPropertyNameAttribute>()?.Name!))
            .Where(p => p.Item2 is not null);

    private static Type ElementOf(Type type)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        return type.IsGenericType ? ElementOf(type.GetGenericArguments()[^1]) : type;
    }

    private void Visit(Type type, TypeFacts known)
    {
        if (!_types.TryAdd(known.FullName, (type, known)))
        {
            return;
        }

        foreach ((PropertyInfo property, _) in Fields(type))
        {
            Type element = ElementOf(property.PropertyType);
            if (!Plain.ContainsKey(element))
            {
                Visit(element, Find(element, known.Package));
            }
        }
    }

    private TypeFacts Find(Type type, string user)
    {
        (string? group, string name) = BaseName(type);
        return facts.Find(name, group, user);
    }

    private void WriteType(Utf8JsonWriter json, Type type, TypeFacts known)
    {
        json.WriteString("description", descriptions.Of(type));
        if (known.Atomic)
        {
            json.WriteBoolean("atomic", true);
        }

        if (type.GetCustomAttribute<KubernetesEntityAttribute>() is { } entity)
        {
            json.WriteString("group", entity.Group);
            json.WriteString("version", entity.ApiVersion);
            json.WriteString("kind", entity.Kind);
        }

        Dictionary<string, string> places = wire.Of(known.Package, known.Name);
        json.WriteStartObject("fields");
        foreach ((PropertyInfo property, string name) in Fields(type).OrderBy(f => f.Name, StringComparer.Ordinal))
        {
            Dictionary<string, string> facts = known.Fields.GetValueOrDefault(name, []);
            json.WriteStartObject(name);
            json.WriteString("description", descriptions.Of(property));
            json.WriteString("type", Shape(property.PropertyType, known.Package, facts));
            foreach ((string fact, string value) in facts.Where(f => f.Key != "go" || f.Value != "MicroTime"))
            {
                json.WriteString(fact, value);
            }

            if (places.TryGetValue(name, out string? place))
            {
                json.WriteString("wire", place);
            }

            json.WriteEndObject();
        }

        json.WriteEndObject();
    }

    // "[]io.k8s.api.core.v1.Container", "map[string]quantity", "int32".
    private string Shape(Type type, string package, Dictionary<string, string> facts)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        if (type == typeof(DateTime) && facts.GetValueOrDefault("go") == "MicroTime")
        {
            return "microTime";
        }

        if (Plain.TryGetValue(type, out string? plain))
        {
            return plain;
        }

        return type.IsGenericType
            ? (type.GetGenericArguments().Length == 2 ? "map:" : "list:") + Shape(type.GetGenericArguments()[^1], package, facts)
            : Find(type, package).FullName;
    }

    [GeneratedRegex("^(?<group>[A-Z][a-z]+(?=v[0-9]))?[Vv][0-9]+(alpha[0-9]+|beta[0-9]+)?(?<name>[A-Z].*)$")]
    private static partial Regex ModelName();
}
