using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>Volumes and their mounts (core validation: ValidateVolumes, ValidateVolumeMounts).</summary>
internal static class VolumeValidation
{
    private const string BadMode = "must be a number between 0 and 0777 (octal), both inclusive";
    private const long ModeMax = 0x1FF; // 0777

    private static readonly string[] HostPathTypes =
        ["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];

    /// <summary>Checks the volumes and returns the names mounts may use.</summary>
    public static HashSet<string> Volumes(List<FieldError> errors, JsonObject spec, FieldPath path)
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        int i = 0;
        foreach (JsonObject volume in spec.Items("volumes"))
        {
            FieldPath at = path.Index(i++);
            int before = errors.Count;
            Source(errors, at, volume);
            string name = volume.Text("name");
            Validating.RequiredName(errors, at.Child("name"), name, Names.IsDns1123Label);
            if (names.Contains(name))
            {
                errors.Add(FieldError.Duplicate(at.Child("name"), name));
            }

            // A volume that is wrong is none that could be mounted.
            if (errors.Count == before)
            {
                names.Add(name);
            }
        }

        return names;
    }

    public static void Mounts(List<FieldError> errors, JsonObject container, FieldPath path, HashSet<string> volumes, JsonObject spec)
    {
        HashSet<string> mountPaths = new(StringComparer.Ordinal);
        HashSet<string> devices = [.. container.Items("volumeDevices").Select(d => d.Text("name"))];
        FieldPath list = path.Child("volumeMounts");
        int i = 0;
        foreach (JsonObject mount in container.Items("volumeMounts"))
        {
            FieldPath at = list.Index(i++);
            string name = mount.Text("name");
            string mountPath = mount.Text("mountPath");
            Validating.RequiredText(errors, at, mount, "name");
            if (!volumes.Contains(name))
            {
                errors.Add(FieldError.NotFound(at.Child("name"), name));
            }

            Validating.RequiredText(errors, at, mount, "mountPath");
            if (!mountPaths.Add(mountPath))
            {
                errors.Add(FieldError.Invalid(at.Child("mountPath"), mountPath, "must be unique"));
            }

            if (devices.Contains(name))
            {
                errors.Add(FieldError.Invalid(at.Child("name"), name, "must not already exist in volumeDevices"));
            }

            if (container.Items("volumeDevices").Any(d => d.Text("devicePath") == mountPath))
            {
                errors.Add(FieldError.Invalid(at.Child("mountPath"), mountPath, "must not already exist as a path in volumeDevices"));
            }

            // From here on upstream names the list, not the item.
            DescendingPath(errors, list.Child("subPath"), mount.Text("subPath"));
            if (mount.Text("subPathExpr").Length > 0)
            {
                if (mount.Text("subPath").Length > 0)
                {
                    errors.Add(FieldError.Invalid(at.Child("subPathExpr"), mount.Text("subPathExpr"), "subPathExpr and subPath are mutually exclusive"));
                }

                DescendingPath(errors, list.Child("subPathExpr"), mount.Text("subPathExpr"));
            }

            Propagation(errors, list.Child("mountPropagation"), mount, container);
            RecursiveReadOnly(errors, list.Child("recursiveReadOnly"), mount);
        }

        Devices(errors, container, path.Child("volumeDevices"), volumes, spec);
    }

    private static void Devices(List<FieldError> errors, JsonObject container, FieldPath path, HashSet<string> volumes, JsonObject spec)
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        HashSet<string> paths = new(StringComparer.Ordinal);
        int i = 0;
        foreach (JsonObject device in container.Items("volumeDevices"))
        {
            FieldPath at = path.Index(i++);
            string name = device.Text("name");
            string devicePath = device.Text("devicePath");
            Validating.RequiredText(errors, at, device, "name");
            if (name.Length > 0 && !names.Add(name))
            {
                errors.Add(FieldError.Invalid(at.Child("name"), name, "must be unique"));
            }

            if (!volumes.Contains(name))
            {
                errors.Add(FieldError.NotFound(at.Child("name"), name));
            }
            else if (spec.Items("volumes").First(v => v.Text("name") == name) is var volume && !volume.Has("persistentVolumeClaim") && !volume.Has("ephemeral"))
            {
                errors.Add(FieldError.Invalid(at.Child("name"), name,
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"));
            }

            Validating.RequiredText(errors, at, device, "devicePath");
            if (paths.Contains(devicePath))
            {
                errors.Add(FieldError.Invalid(at.Child("devicePath"), devicePath, "must be unique"));
            }

            if (devicePath.Split('/').Contains(".."))
            {
                errors.Add(FieldError.Invalid(at.Child("devicePath"), devicePath, "can not contain backsteps ('..')"));
            }
            else
            {
                paths.Add(devicePath);
            }

            if (container.Items("volumeMounts").Any(m => m.Text("name") == name))
            {
                errors.Add(FieldError.Invalid(at.Child("name"), name, "must not already exist in volumeMounts"));
            }

            if (container.Items("volumeMounts").Any(m => m.Text("mountPath") == devicePath))
            {
                errors.Add(FieldError.Invalid(at.Child("devicePath"), devicePath, "must not already exist as a path in volumeMounts"));
            }
        }
    }

    private static void RecursiveReadOnly(List<FieldError> errors, FieldPath path, JsonObject mount)
    {
        if (!mount.Has("recursiveReadOnly") || mount.Text("recursiveReadOnly") == "Disabled")
        {
            return;
        }

        if (mount.Text("recursiveReadOnly") is not ("Enabled" or "IfPossible"))
        {
            Validating.OneOf(errors, path, mount.Text("recursiveReadOnly"), "Disabled", "Enabled", "IfPossible");
            return;
        }

        if (mount.Bool("readOnly") != true)
        {
            errors.Add(FieldError.Forbidden(path, "may only be specified when readOnly is true"));
        }

        if (mount.Has("mountPropagation") && mount.Text("mountPropagation") != "None")
        {
            errors.Add(FieldError.Forbidden(path, "may only be specified when mountPropagation is None or not specified"));
        }
    }

    private static void Propagation(List<FieldError> errors, FieldPath path, JsonObject mount, JsonObject container)
    {
        if (!mount.Has("mountPropagation"))
        {
            return;
        }

        string propagation = mount.Text("mountPropagation");
        Validating.OneOf(errors, path, propagation, "Bidirectional", "HostToContainer", "None");
        if (propagation == "Bidirectional" && container.Obj("securityContext").Bool("privileged") != true)
        {
            errors.Add(FieldError.Forbidden(path, "Bidirectional mount propagation is available only to privileged containers"));
        }
    }

    private static void Source(List<FieldError> errors, FieldPath path, JsonObject volume)
    {
        int count = 0;
        foreach ((string kind, JsonNode? node) in volume)
        {
            if (kind == "name" || node is not JsonObject source)
            {
                continue;
            }

            if (++count > 1)
            {
                errors.Add(FieldError.Forbidden(path.Child(kind), "may not specify more than 1 volume type"));
                continue;
            }

            OneSource(errors, path.Child(kind), kind, source);
        }

        if (count == 0)
        {
            errors.Add(FieldError.Required(path, "must specify a volume type"));
        }
    }

    private static void OneSource(List<FieldError> errors, FieldPath path, string kind, JsonObject source)
    {
        switch (kind)
        {
            case "emptyDir":
                if (Quantities.TryGet(source, "sizeLimit", out Quantity limit) && limit.Sign < 0)
                {
                    errors.Add(FieldError.Forbidden(path.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity"));
                }

                break;
            case "hostPath":
                Validating.RequiredText(errors, path, source, "path");
                if (source.Text("path").Length > 0)
                {
                    NoBacksteps(errors, path.Child("path"), source.Text("path"));
                    Validating.OneOf(errors, path.Child("type"), source.Text("type"), HostPathTypes);
                }

                break;
            case "secret":
                Validating.RequiredText(errors, path, source, "secretName");
                Files(errors, path, source);
                break;
            case "configMap":
                Validating.RequiredText(errors, path, source, "name");
                Files(errors, path, source);
                break;
            case "downwardAPI":
                Mode(errors, path.Child("defaultMode"), source.Long("defaultMode"));
                DownwardItems(errors, path, source);
                break;
            case "projected":
                Mode(errors, path.Child("defaultMode"), source.Long("defaultMode"));
                Projections(errors, path, source);
                break;
            case "persistentVolumeClaim":
                Validating.RequiredText(errors, path, source, "claimName");
                break;
            case "nfs":
                Validating.RequiredText(errors, path, source, "server");
                Validating.RequiredText(errors, path, source, "path");
                if (source.Text("path") is var nfs && !nfs.StartsWith('/'))
                {
                    errors.Add(FieldError.Invalid(path.Child("path"), nfs, "must be an absolute path"));
                }

                break;
            case "csi":
                Validating.RequiredText(errors, path, source, "driver");
                break;
            case "ephemeral" when source.Obj("volumeClaimTemplate") is null:
                errors.Add(FieldError.Required(path.Child("volumeClaimTemplate"), ""));
                break;
        }
    }

    private static void Projections(List<FieldError> errors, FieldPath volume, JsonObject projected)
    {
        HashSet<string> files = new(StringComparer.Ordinal);
        int i = 0;
        foreach (JsonObject projection in projected.Items("sources"))
        {
            FieldPath at = volume.Child("sources").Index(i++);
            foreach (string kind in new[] { "secret", "configMap" })
            {
                if (projection.Obj(kind) is { } source)
                {
                    Validating.RequiredText(errors, at.Child(kind), source, "name");
                    Files(errors, at.Child(kind), source, f => Once(errors, volume, files, f, source.Text("name")));
                }
            }

            DownwardItems(errors, at.Child("downwardAPI"), projection.Obj("downwardAPI"), f => Once(errors, volume, files, f, f));
            if (projection.Obj("serviceAccountToken") is { } token)
            {
                long seconds = token.Long("expirationSeconds") ?? 0;
                FieldPath secondsPath = at.Child("serviceAccountToken", "expirationSeconds");
                if (seconds < 600)
                {
                    errors.Add(FieldError.Invalid(secondsPath, seconds, "may not specify a duration less than 10 minutes"));
                }

                if (seconds > 1L << 32)
                {
                    errors.Add(FieldError.Invalid(secondsPath, seconds, "may not specify a duration larger than 2^32 seconds"));
                }

                // Upstream names the volume here, not the projection.
                Validating.RequiredText(errors, volume, token, "path");
                LocalPath(errors, volume.Child("path"), token.Text("path"));
            }

            if (projection.Count(f => f.Value is not null) > 1)
            {
                errors.Add(FieldError.Forbidden(at, "may not specify more than 1 volume type per source"));
            }
        }
    }

    private static void Once(List<FieldError> errors, FieldPath path, HashSet<string> seen, string file, string shown)
    {
        if (file.Length > 0 && !seen.Add(file))
        {
            errors.Add(FieldError.Invalid(path, shown, "conflicting duplicate paths"));
        }
    }

    private static void Files(List<FieldError> errors, FieldPath path, JsonObject source, Action<string>? seen = null)
    {
        Mode(errors, path.Child("defaultMode"), source.Long("defaultMode"));
        int i = 0;
        foreach (JsonObject item in source.Items("items"))
        {
            FieldPath at = path.Child("items").Index(i++);
            Validating.RequiredText(errors, at, item, "key");
            Validating.RequiredText(errors, at, item, "path");
            LocalPath(errors, at.Child("path"), item.Text("path"));
            Mode(errors, at.Child("mode"), item.Long("mode"));
            seen?.Invoke(item.Text("path"));
        }
    }

    /// <summary>Upstream names the source of all items here, not the item.</summary>
    private static void DownwardItems(List<FieldError> errors, FieldPath at, JsonObject? source, Action<string>? seen = null)
    {
        foreach (JsonObject item in source.Items("items"))
        {
            Validating.RequiredText(errors, at, item, "path");
            LocalPath(errors, at.Child("path"), item.Text("path"));
            if (item.Has("fieldRef") && item.Has("resourceFieldRef"))
            {
                errors.Add(FieldError.Invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"));
            }
            else if (!item.Has("fieldRef") && !item.Has("resourceFieldRef"))
            {
                errors.Add(FieldError.Required(at, "one of fieldRef and resourceFieldRef is required"));
            }

            Mode(errors, at.Child("mode"), item.Long("mode"));
            seen?.Invoke(item.Text("path"));
        }
    }

    private static void Mode(List<FieldError> errors, FieldPath path, long? mode)
    {
        if (mode is < 0 or > ModeMax)
        {
            errors.Add(FieldError.Invalid(path, mode, BadMode));
        }
    }

    /// <summary>A file's place below a volume: relative, without steps back, not hidden as the atomic writer's own.</summary>
    private static void LocalPath(List<FieldError> errors, FieldPath path, string value)
    {
        DescendingPath(errors, path, value);
        if (value.StartsWith("..", StringComparison.Ordinal) && !value.StartsWith("../", StringComparison.Ordinal) && value != "..")
        {
            errors.Add(FieldError.Invalid(path, value, "must not start with '..'"));
        }
    }

    private static void DescendingPath(List<FieldError> errors, FieldPath path, string value)
    {
        if (value.StartsWith('/'))
        {
            errors.Add(FieldError.Invalid(path, value, "must be a relative path"));
        }

        NoBacksteps(errors, path, value);
    }

    private static void NoBacksteps(List<FieldError> errors, FieldPath path, string value)
    {
        if (value.Split('/').Contains(".."))
        {
            errors.Add(FieldError.Invalid(path, value, "must not contain '..'"));
        }
    }
}
