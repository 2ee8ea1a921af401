using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 PersistentVolume and PersistentVolumeClaim, storage.k8s.io/v1 StorageClass, CSIDriver, CSINode and VolumeAttachment.</summary>
internal static class StorageResources
{
    private const string Group = "storage.k8s.io";
    private const string Unset = "<unset>";
    private const string ClassAnnotation = "volume.beta.kubernetes.io/storage-class";
    private const string DefaultClass = "storageclass.kubernetes.io/is-default-class";

    public static ResourceDefinition PersistentVolumeClaim { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "PersistentVolumeClaim",
        Plural = "persistentvolumeclaims",
        Singular = "persistentvolumeclaim",
        ShortNames = ["pvc"],
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.PersistentVolumeClaim",
        StorageKey = "persistentvolumeclaims",
        ReturnDeletedObject = true,
        Default = static o =>
        {
            VolumeDefaults.ClaimSpec(o.Ensure("spec"));
            o.Ensure("status").DefaultText("phase", "Pending");
        },
        PrepareForCreate = static (o, _) => o["status"] = new JsonObject { ["phase"] = "Pending" },
        PrepareForUpdate = Strategies.UpdateWithoutStatus,
        Validate = StorageValidation.Claim,
        ValidateUpdate = StorageValidation.ClaimUpdate,
        Subresources = [Strategies.Status("v1 PersistentVolumeClaim", validate: StorageValidation.ClaimStatus)],
        Columns =
        [
            Columns.Name,
            Columns.Text("Status", "Where the claim stands."),
            Columns.Text("Volume", "The volume that backs the claim."),
            Columns.Text("Capacity", "Size of that volume."),
            Columns.Text("Access Modes", "How that volume may be mounted."),
            Columns.Text("StorageClass", "Class of storage the claim asks for."),
            Columns.Text("VolumeAttributesClass", "Class of attributes the claim asks for."),
            Columns.Age,
            Columns.Text("VolumeMode", "File system or raw block device.", 1),
        ],
        Row = ClaimRow,
    };

    public static ResourceDefinition PersistentVolume { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "PersistentVolume",
        Plural = "persistentvolumes",
        Singular = "persistentvolume",
        ShortNames = ["pv"],
        Namespaced = false,
        SchemaName = "io.k8s.api.core.v1.PersistentVolume",
        StorageKey = "persistentvolumes",
        ReturnDeletedObject = true,
        Default = static o =>
        {
            JsonObject spec = o.Ensure("spec");
            spec.DefaultText("persistentVolumeReclaimPolicy", "Retain");
            spec.Default("volumeMode", "Filesystem");
            VolumeDefaults.Source(spec);
            Quantities.Canonicalize(spec.Obj("capacity"));
            o.Ensure("status").DefaultText("phase", "Pending");
        },
        PrepareForCreate = static (o, facts) =>
            o["status"] = new JsonObject { ["phase"] = "Pending", ["lastPhaseTransitionTime"] = KubeTime.Format(facts.Now) },
        PrepareForUpdate = Strategies.UpdateWithoutStatus,
        Validate = StorageValidation.Volume,
        ValidateUpdate = StorageValidation.VolumeUpdate,
        Subresources = [Strategies.Status("v1 PersistentVolume", VolumeStatus)],
        Columns =
        [
            Columns.Name,
            Columns.Text("Capacity", "Size of the volume."),
            Columns.Text("Access Modes", "How the volume may be mounted."),
            Columns.Text("Reclaim Policy", "What becomes of the volume when its claim goes."),
            Columns.Text("Status", "Where the volume stands."),
            Columns.Text("Claim", "The claim it is bound to."),
            Columns.Text("StorageClass", "Class of storage the volume belongs to."),
            Columns.Text("VolumeAttributesClass", "Class of attributes the volume has."),
            Columns.Text("Reason", "Why the volume stands there."),
            Columns.Age,
            Columns.Text("VolumeMode", "File system or raw block device.", 1),
        ],
        Row = VolumeRow,
    };

    public static ResourceDefinition StorageClass { get; } = new()
    {
        Group = Group,
        Version = "v1",
        Kind = "StorageClass",
        Plural = "storageclasses",
        Singular = "storageclass",
        ShortNames = ["sc"],
        Namespaced = false,
        SchemaName = "io.k8s.api.storage.v1.StorageClass",
        StorageKey = "storageclasses",
        ReturnDeletedObject = true,
        Default = static o =>
        {
            o.Default("reclaimPolicy", "Delete");
            o.Default("volumeBindingMode", "Immediate");
        },
        Validate = StorageValidation.Class,
        ValidateUpdate = StorageValidation.ClassUpdate,
        Columns =
        [
            Columns.Name,
            Columns.Text("Provisioner", "What makes the volumes of this class."),
            Columns.Text("ReclaimPolicy", "What becomes of a volume when its claim goes."),
            Columns.Text("VolumeBindingMode", "When claims of this class are bound."),
            Columns.Text("AllowVolumeExpansion", "Whether claims of this class may grow."),
            Columns.Age,
        ],
        Row = static (o, now) =>
        [
            Columns.NameOf(o) + (o.Get("metadata").TextMap("annotations").GetValueOrDefault(DefaultClass) == "true" ? " (default)" : ""),
            o.Text("provisioner"), o.Text("reclaimPolicy"), o.Text("volumeBindingMode"), o.Bool("allowVolumeExpansion"), HumanDuration.Age(o, now),
        ],
    };

    public static ResourceDefinition CsiDriver { get; } = new()
    {
        Group = Group,
        Version = "v1",
        Kind = "CSIDriver",
        Plural = "csidrivers",
        Singular = "csidriver",
        Namespaced = false,
        SchemaName = "io.k8s.api.storage.v1.CSIDriver",
        StorageKey = "csidrivers",
        ReturnDeletedObject = true,
        Default = CsiDriverDefault,
        PrepareForCreate = static (o, _) => o.Ensure("metadata")["generation"] = 1L,
        PrepareForUpdate = static (updated, old, _) => Strategies.CountGeneration(updated, old, updated["spec"].SameAs(old["spec"])),
        Validate = StorageValidation.CsiDriver,
        ValidateUpdate = StorageValidation.CsiDriverUpdate,
        Columns =
        [
            Columns.Name,
            new("AttachRequired", "boolean", "Whether volumes are attached before they are mounted."),
            new("PodInfoOnMount", "boolean", "Whether the driver hears about the pod when mounting."),
            new("StorageCapacity", "boolean", "Whether the scheduler looks at the driver's capacity."),
            Columns.Text("TokenRequests", "Tokens the driver gets when mounting."),
            new("RequiresRepublish", "boolean", "Whether mounts are renewed now and then."),
            Columns.Text("Modes", "Volumes the driver has: persistent, ephemeral."),
            Columns.Age,
        ],
        Row = static (o, now) =>
        {
            JsonElement spec = o.Get("spec");
            string tokens = string.Join(',', spec.Items("tokenRequests").Select(t => t.Text("audience")));
            return
            [
                Columns.NameOf(o), spec.Bool("attachRequired"), spec.Bool("podInfoOnMount"), spec.Bool("storageCapacity"),
                tokens.Length == 0 ? Unset : tokens, spec.Bool("requiresRepublish"),
                string.Join(',', spec.Items("volumeLifecycleModes").Select(m => m.GetString())), HumanDuration.Age(o, now),
            ];
        },
    };

    public static ResourceDefinition CsiNode { get; } = new()
    {
        Group = Group,
        Version = "v1",
        Kind = "CSINode",
        Plural = "csinodes",
        Singular = "csinode",
        Namespaced = false,
        SchemaName = "io.k8s.api.storage.v1.CSINode",
        StorageKey = "csinodes",
        ReturnDeletedObject = true,
        Default = static o =>
        {
            if (o.Ensure("spec")["drivers"] is null)
            {
                o["spec"]!["drivers"] = new JsonArray();
            }
        },
        Validate = StorageValidation.CsiNode,
        Columns = [Columns.Name, Columns.Number("Drivers", "How many drivers the node has."), Columns.Age],
        Row = static (o, now) => [Columns.NameOf(o), (long)o.Get("spec").Items("drivers").Count(), HumanDuration.Age(o, now)],
    };

    public static ResourceDefinition VolumeAttachment { get; } = new()
    {
        Group = Group,
        Version = "v1",
        Kind = "VolumeAttachment",
        Plural = "volumeattachments",
        Singular = "volumeattachment",
        Namespaced = false,
        SchemaName = "io.k8s.api.storage.v1.VolumeAttachment",
        StorageKey = "volumeattachments",
        ReturnDeletedObject = true,
        PrepareForCreate = static (o, _) => o["status"] = new JsonObject { ["attached"] = false },
        PrepareForUpdate = Strategies.UpdateWithoutStatus,
        Validate = StorageValidation.Attachment,
        ValidateUpdate = StorageValidation.AttachmentUpdate,
        Subresources = [Strategies.Status("storage.k8s.io/v1 VolumeAttachment")],
        Columns =
        [
            Columns.Name,
            Columns.Text("Attacher", "The driver that attaches."),
            Columns.Text("PV", "The volume to attach."),
            Columns.Text("Node", "The node to attach it to."),
            new("Attached", "boolean", "Whether it is attached."),
            Columns.Age,
        ],
        Row = static (o, now) =>
        [
            Columns.NameOf(o), o.Get("spec").Text("attacher"), o.Get("spec", "source").Text("persistentVolumeName"), o.Get("spec").Text("nodeName"),
            o.Get("status").Bool("attached"), HumanDuration.Age(o, now),
        ],
    };

    private static void CsiDriverDefault(JsonObject o)
    {
        JsonObject spec = o.Ensure("spec");
        foreach (string on in new[] { "attachRequired" })
        {
            spec.Default(on, true);
        }

        foreach (string off in new[] { "podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount" })
        {
            spec.Default(off, false);
        }

        spec.Default("fsGroupPolicy", "ReadWriteOnceWithFSType");
        if (!spec.HasItems("volumeLifecycleModes"))
        {
            spec["volumeLifecycleModes"] = new JsonArray("Persistent");
        }
    }

    /// <summary>The moment of the last change of phase is the server's to write (KEP-3762).</summary>
    private static void VolumeStatus(JsonObject updated, JsonObject old, RequestFacts facts)
    {
        Strategies.UpdateStatus(updated, old, facts);
        JsonObject status = updated.Ensure("status");
        if (status.Text("phase") != old.Obj("status").Text("phase"))
        {
            status["lastPhaseTransitionTime"] = KubeTime.Format(facts.Now);
        }
    }

    private static object?[] ClaimRow(JsonElement o, DateTimeOffset now)
    {
        JsonElement spec = o.Get("spec");
        JsonElement status = o.Get("status");
        bool bound = spec.Text("volumeName").Length > 0;
        return
        [
            Columns.NameOf(o),
            o.Get("metadata").Has("deletionTimestamp") ? "Terminating" : status.Text("phase"),
            spec.Text("volumeName"),
            bound ? status.Get("capacity").Text("storage") is { Length: > 0 } size ? size : "0" : "",
            bound ? AccessModes(status) : "",
            ClassOf(o),
            OrUnset(spec.Text("volumeAttributesClassName")),
            HumanDuration.Age(o, now),
            OrUnset(spec.Text("volumeMode")),
        ];
    }

    private static object?[] VolumeRow(JsonElement o, DateTimeOffset now)
    {
        JsonElement spec = o.Get("spec");
        JsonElement claim = spec.Get("claimRef");
        return
        [
            Columns.NameOf(o),
            spec.Get("capacity").Text("storage"),
            AccessModes(spec),
            spec.Text("persistentVolumeReclaimPolicy"),
            o.Get("metadata").Has("deletionTimestamp") ? "Terminating" : o.Get("status").Text("phase"),
            claim.ValueKind == JsonValueKind.Object ? claim.Text("namespace") + "/" + claim.Text("name") : "",
            ClassOf(o),
            OrUnset(spec.Text("volumeAttributesClassName")),
            o.Get("status").Text("reason"),
            HumanDuration.Age(o, now),
            OrUnset(spec.Text("volumeMode")),
        ];
    }

    private static string ClassOf(JsonElement o) =>
        o.Get("metadata").TextMap("annotations").GetValueOrDefault(ClassAnnotation) ?? o.Get("spec").Text("storageClassName");

    private static string OrUnset(string text) => text.Length == 0 ? Unset : text;

    private static string AccessModes(JsonElement holder)
    {
        string?[] modes = [.. holder.Items("accessModes").Select(m => m.GetString())];
        return string.Join(',', new[] { ("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP") }
            .Where(m => modes.Contains(m.Item1)).Select(m => m.Item2));
    }
}
