using System.Text.Json.Nodes;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>Defaults of a volume's source (core/v1 defaults.go, and the default markers of the types).</summary>
internal static class VolumeDefaults
{
    private const long FileMode = 0x1A4; // 0644

    public static void Volume(JsonObject volume)
    {
        if (volume.All(f => f.Key == "name" || f.Value is null))
        {
            volume["emptyDir"] = new JsonObject();
        }

        Source(volume);
    }

    /// <summary>What pod volumes and persistent volumes share.</summary>
    public static void Source(JsonObject source)
    {
        Quantities.CanonicalizeField(source.Obj("emptyDir"), "sizeLimit");
        source.Obj("hostPath")?.Default("type", "");
        foreach (string name in new[] { "secret", "configMap", "downwardAPI", "projected" })
        {
            source.Obj(name)?.Default("defaultMode", FileMode);
        }

        DownwardItems(source.Obj("downwardAPI"));
        foreach (JsonObject projection in source.Obj("projected").Items("sources"))
        {
            projection.Obj("serviceAccountToken")?.Default("expirationSeconds", 3600);
            DownwardItems(projection.Obj("downwardAPI"));
        }

        source.Obj("iscsi")?.DefaultText("iscsiInterface", "default");
        if (source.Obj("rbd") is { } rbd)
        {
            rbd.DefaultText("pool", "rbd");
            rbd.DefaultText("user", "admin");
            rbd.DefaultText("keyring", "/etc/ceph/keyring");
        }

        if (source.Obj("azureDisk") is { } azure)
        {
            azure.DefaultText("cachingMode", "ReadWrite");
            azure.DefaultText("kind", "Shared");
            azure.DefaultText("fsType", "ext4");
            azure.Default("readOnly", false);
        }

        if (source.Obj("scaleIO") is { } scaleIO)
        {
            scaleIO.DefaultText("storageMode", "ThinProvisioned");
            scaleIO.DefaultText("fsType", "xfs");
        }

        if (source.Obj("image") is { } image)
        {
            image.DefaultText("pullPolicy", PodDefaults.PullPolicy(image.Text("reference")));
        }

        if (source.Obj("ephemeral", "volumeClaimTemplate", "spec") is { } claim)
        {
            ClaimSpec(claim);
        }
    }

    public static void ClaimSpec(JsonObject claim)
    {
        claim.Default("volumeMode", "Filesystem");
        Quantities.CanonicalizeRequirements(claim.Ensure("resources"));
    }

    private static void DownwardItems(JsonObject? downward)
    {
        foreach (JsonObject item in downward.Items("items"))
        {
            item.Obj("fieldRef")?.DefaultText("apiVersion", "v1");
            if (item.Obj("resourceFieldRef") is { } resource)
            {
                resource.Default("divisor", "0");
                Quantities.CanonicalizeField(resource, "divisor");
            }
        }
    }
}
