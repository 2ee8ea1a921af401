using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>Volumes, claims and classes (core validation: ValidatePersistentVolume..., pkg/apis/storage/validation).</summary>
internal static class StorageValidation
{
    private static readonly FieldPath Spec = FieldPath.New("spec");
    private static readonly string[] AccessModesKnown = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

    private static readonly string[] NoSource =
    [
        "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy", "storageClassName", "volumeAttributesClassName",
        "volumeMode",
    ];

    public static List<FieldError> Claim(JsonObject o)
    {
        List<FieldError> errors = [];
        ClaimSpec(errors, o.Obj("spec"), Spec);
        return errors;
    }

    public static void ClaimSpec(List<FieldError> errors, JsonObject? spec, FieldPath path)
    {
        if (!spec.HasItems("accessModes"))
        {
            errors.Add(FieldError.Required(path.Child("accessModes"), "at least 1 access mode is required"));
        }

        errors.AddRange(ObjectMetaValidation.ValidateLabelSelector(spec.Obj("selector"), path.Child("selector")));
        AccessModes(errors, spec, path.Child("accessModes"));
        FieldPath sizePath = path.Child("resources").Key("storage");
        if (!Quantities.TryGet(spec.Obj("resources", "requests"), "storage", out Quantity size))
        {
            errors.Add(FieldError.Required(sizePath, ""));
        }
        else if (size.Sign <= 0)
        {
            errors.Add(FieldError.Invalid(sizePath, size.ToString(), "must be greater than zero"));
        }

        ClassName(errors, spec, path);
        if (spec.Has("volumeMode"))
        {
            Validating.OneOf(errors, path.Child("volumeMode"), spec.Text("volumeMode"), "Block", "Filesystem");
        }
    }

    public static List<FieldError> ClaimUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        JsonObject now = updated.Obj("spec")?.DeepClone().AsObject() ?? [];
        JsonObject before = old.Obj("spec")?.DeepClone().AsObject() ?? [];
        if (before.Text("volumeName").Length == 0)
        {
            before.TakeFrom("volumeName", now);
        }

        // A claim made before there was a default class may still get one (KEP-3333).
        if (!before.Has("storageClassName"))
        {
            before.TakeFrom("storageClassName", now);
        }

        Quantity oldSize = SizeOf(before);
        Quantity newSize = SizeOf(now);
        if (updated.Obj("status").Text("phase") == "Bound" && now.Obj("resources", "requests") is { } requests)
        {
            requests.TakeFrom("storage", before.Obj("resources", "requests") ?? []);
        }

        now.TakeFrom("volumeAttributesClassName", before);
        if (!now.SameAs(before))
        {
            errors.Add(FieldError.Forbidden(
                Spec, "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"));
        }

        _ = Quantities.TryGet(old.Obj("status", "capacity"), "storage", out Quantity capacity);
        if (newSize.CompareTo(oldSize) < 0 && newSize.CompareTo(capacity) <= 0)
        {
            errors.Add(FieldError.Forbidden(Spec.Child("resources", "requests", "storage"), "field can not be less than status.capacity"));
        }

        Validating.Immutable(errors, FieldPath.New("volumeMode"), updated.Obj("spec")?["volumeMode"], old.Obj("spec")?["volumeMode"]);
        return errors;
    }

    public static List<FieldError> ClaimStatus(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        JsonObject? capacity = updated.Obj("status").Obj("capacity");
        foreach (string name in capacity?.Select(p => p.Key) ?? [])
        {
            if (Quantities.TryGet(capacity, name, out Quantity quantity) && quantity.Sign < 0)
            {
                errors.Add(FieldError.Invalid(FieldPath.New("status", "capacity").Key(name), quantity.ToString(), Validating.NotNegative));
            }
        }

        return errors;
    }

    public static List<FieldError> Volume(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        if (!spec.HasItems("accessModes"))
        {
            errors.Add(FieldError.Required(Spec.Child("accessModes"), ""));
        }

        AccessModes(errors, spec, Spec.Child("accessModes"));
        Capacity(errors, spec.Obj("capacity"));
        string policy = spec.Text("persistentVolumeReclaimPolicy");
        Validating.OneOf(errors, Spec.Child("persistentVolumeReclaimPolicy"), policy, "Delete", "Recycle", "Retain");
        string[] sources = [.. spec?.Where(p => p.Value is JsonObject && !NoSource.Contains(p.Key)).Select(p => p.Key) ?? []];
        foreach (string extra in sources.Skip(1))
        {
            errors.Add(FieldError.Forbidden(Spec.Child(extra), "may not specify more than 1 volume type"));
        }

        if (sources.Length == 0)
        {
            errors.Add(FieldError.Required(Spec, "must specify a volume type"));
        }
        else
        {
            Source(errors, spec.Obj(sources[0])!, Spec.Child(sources[0]), sources[0], spec);
        }

        if (spec.Obj("hostPath") is { } host && policy == "Recycle" && host.Text("path").TrimEnd('/').Length == 0)
        {
            errors.Add(FieldError.Forbidden(Spec.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'"));
        }

        ClassName(errors, spec, Spec);
        if (spec.Has("volumeMode"))
        {
            Validating.OneOf(errors, Spec.Child("volumeMode"), spec.Text("volumeMode"), "Block", "Filesystem");
        }

        return errors;
    }

    public static List<FieldError> VolumeUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        static JsonObject SourceOf(JsonObject o)
        {
            JsonObject source = o.Obj("spec")?.DeepClone().AsObject() ?? [];
            foreach (string field in NoSource)
            {
                source.Remove(field);
            }

            return source;
        }

        if (!SourceOf(updated).SameAs(SourceOf(old)))
        {
            errors.Add(FieldError.Forbidden(Spec.Child("persistentvolumesource"), "spec.persistentvolumesource is immutable after creation"));
        }

        Validating.Immutable(errors, FieldPath.New("volumeMode"), updated.Obj("spec")?["volumeMode"], old.Obj("spec")?["volumeMode"]);
        if (old.Obj("spec").Has("nodeAffinity"))
        {
            Validating.Immutable(errors, FieldPath.New("nodeAffinity"), updated.Obj("spec")?["nodeAffinity"], old.Obj("spec")?["nodeAffinity"]);
        }

        return errors;
    }

    public static List<FieldError> Class(JsonObject o)
    {
        List<FieldError> errors = [];
        Validating.RequiredName(
            errors, FieldPath.New("provisioner"), o.Text("provisioner"), static name => Names.IsQualifiedName(name.ToLowerInvariant()));
        if (o.Has("reclaimPolicy"))
        {
            Validating.OneOf(errors, FieldPath.New("reclaimPolicy"), o.Text("reclaimPolicy"), "Delete", "Retain");
        }

        PodSpecValidation.Choice(errors, FieldPath.New("volumeBindingMode"), o.Text("volumeBindingMode"), "Immediate", "WaitForFirstConsumer");
        return errors;
    }

    public static List<FieldError> ClassUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        foreach (string field in new[] { "parameters", "provisioner", "reclaimPolicy" })
        {
            bool same = field == "parameters" ? (updated.Obj(field) ?? []).SameAs(old.Obj(field) ?? []) : updated[field].SameAs(old[field]);
            if (!same)
            {
                errors.Add(FieldError.Forbidden(FieldPath.New(field), $"updates to {field} are forbidden."));
            }
        }

        Validating.Immutable(errors, FieldPath.New("volumeBindingMode"), updated["volumeBindingMode"], old["volumeBindingMode"]);
        return errors;
    }

    public static List<FieldError> CsiDriver(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        foreach (string field in new[] { "attachRequired", "podInfoOnMount", "storageCapacity" })
        {
            if (!spec.Has(field))
            {
                errors.Add(FieldError.Required(Spec.Child(field), ""));
            }
        }

        Validating.OneOf(errors, Spec.Child("fsGroupPolicy"), spec.Text("fsGroupPolicy"), "File", "None", "ReadWriteOnceWithFSType");
        HashSet<string> audiences = new(StringComparer.Ordinal);
        int i = 0;
        foreach (string audience in spec.Items("tokenRequests").Select(t => t.Text("audience")))
        {
            if (!audiences.Add(audience))
            {
                errors.Add(FieldError.Duplicate(Spec.Child("tokenRequests").Index(i).Child("audience"), audience));
            }

            i++;
        }

        foreach (string mode in spec.Texts("volumeLifecycleModes"))
        {
            Validating.OneOf(errors, Spec.Child("volumeLifecycleModes"), mode, "Ephemeral", "Persistent");
        }

        return errors;
    }

    public static List<FieldError> CsiDriverUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        foreach (string field in new[] { "attachRequired", "volumeLifecycleModes" })
        {
            Validating.Immutable(errors, Spec.Child(field), updated.Obj("spec")?[field], old.Obj("spec")?[field]);
        }

        return errors;
    }

    public static List<FieldError> CsiNode(JsonObject o)
    {
        List<FieldError> errors = [];
        HashSet<string> names = new(StringComparer.Ordinal);
        int i = 0;
        foreach (JsonObject driver in o.Obj("spec").Items("drivers"))
        {
            FieldPath path = Spec.Child("drivers").Index(i++);
            string name = driver.Text("name");
            Validating.RequiredName(errors, path.Child("name"), name, static n => Names.IsDns1123Subdomain(n.ToLowerInvariant()));
            if (!names.Add(name))
            {
                errors.Add(FieldError.Duplicate(path.Child("name"), name));
            }

            Validating.RequiredText(errors, path, driver, "nodeID");
        }

        return errors;
    }

    public static List<FieldError> Attachment(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        Validating.RequiredName(errors, Spec.Child("attacher"), spec.Text("attacher"), static n => Names.IsQualifiedName(n.ToLowerInvariant()));
        bool inline = spec.Obj("source").Has("inlineVolumeSpec");
        bool named = spec.Obj("source").Text("persistentVolumeName").Length > 0;
        if (inline && named)
        {
            errors.Add(FieldError.Forbidden(Spec.Child("source"), "must specify exactly one of inlineVolumeSpec and persistentVolumeName"));
        }
        else if (!inline && !named)
        {
            errors.Add(FieldError.Required(Spec.Child("source"), "must specify either inlineVolumeSpec and persistentVolumeName"));
        }

        Validating.RequiredName(errors, Spec.Child("nodeName"), spec.Text("nodeName"), Names.IsDns1123Subdomain);
        return errors;
    }

    public static List<FieldError> AttachmentUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        Validating.Immutable(errors, Spec, updated["spec"], old["spec"]);
        return errors;
    }

    private static Quantity SizeOf(JsonObject spec)
    {
        _ = Quantities.TryGet(spec.Obj("resources", "requests"), "storage", out Quantity size);
        return size;
    }

    private static void Capacity(List<FieldError> errors, JsonObject? capacity)
    {
        FieldPath path = Spec.Child("capacity");
        if (capacity is not { Count: > 0 })
        {
            errors.Add(FieldError.Required(path, ""));
        }

        if (capacity?.ContainsKey("storage") != true || capacity.Count > 1)
        {
            errors.Add(FieldError.NotSupported(path, capacity, ["storage"]));
        }

        foreach (string name in capacity?.Select(p => p.Key) ?? [])
        {
            if (Quantities.TryGet(capacity, name, out Quantity size) && size.Sign <= 0)
            {
                errors.Add(FieldError.Invalid(path.Key(name), size.ToString(), "must be greater than zero"));
            }
        }
    }

    private static void AccessModes(List<FieldError> errors, JsonObject? spec, FieldPath path)
    {
        string[] modes = [.. spec.Texts("accessModes")];
        foreach (string mode in modes)
        {
            Validating.OneOf(errors, path, mode, AccessModesKnown);
        }

        if (modes.Contains("ReadWriteOncePod") && modes.Any(m => m != "ReadWriteOncePod" && AccessModesKnown.Contains(m)))
        {
            errors.Add(FieldError.Forbidden(path, "may not use ReadWriteOncePod with other access modes"));
        }
    }

    private static void ClassName(List<FieldError> errors, JsonObject? spec, FieldPath path)
    {
        if (spec.Text("storageClassName") is { Length: > 0 } name)
        {
            Validating.Messages(errors, path.Child("storageClassName"), name, Names.IsDns1123Subdomain(name));
        }
    }

    private static void Source(List<FieldError> errors, JsonObject source, FieldPath path, string kind, JsonObject? spec)
    {
        switch (kind)
        {
            case "hostPath" or "local":
                Validating.RequiredText(errors, path, source, "path");
                if (source.Text("path").Split('/').Contains(".."))
                {
                    errors.Add(FieldError.Invalid(path.Child("path"), source.Text("path"), "must not contain '..'"));
                }

                if (kind == "local" && !spec.Has("nodeAffinity"))
                {
                    errors.Add(FieldError.Required(Spec.Child("nodeAffinity"), "Local volume requires node affinity"));
                }

                break;
            case "nfs":
                Validating.RequiredText(errors, path, source, "server");
                Validating.RequiredText(errors, path, source, "path");
                break;
            case "csi":
                Validating.RequiredText(errors, path, source, "driver");
                Validating.RequiredText(errors, path, source, "volumeHandle");
                break;
        }
    }
}
