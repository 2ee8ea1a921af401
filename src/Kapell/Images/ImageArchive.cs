using System.Formats.Tar;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace Kapell.Cli.Images;

/// <summary>
/// Writes one image as an OCI image layout in a tar file (image-spec v1.0, image-layout.md), which containerd, skopeo and our
/// registry read. The same root file system gives the same bytes: times, owners and order are fixed.
/// </summary>
internal static class ImageArchive
{
    private const string ManifestType = "application/vnd.oci.image.manifest.v1+json";

    /// <param name="reference">Full reference with tag: <c>docker.io/library/nginx:latest</c>.</param>
    /// <param name="config">The OCI runtime config (Entrypoint, Cmd, Env, ...).</param>
    /// <param name="layer">Entries of the one layer, in order.</param>
    public static void Write(string path, string reference, JsonObject config, IEnumerable<LayerEntry> layer)
    {
        (byte[] compressed, string diffId) = PackLayer(layer);
        Dictionary<string, byte[]> blobs = new(StringComparer.Ordinal);
        JsonObject layerDescriptor = AddBlob(blobs, compressed, "application/vnd.oci.image.layer.v1.tar+gzip");
        JsonObject image = new()
        {
            ["created"] = "1970-01-01T00:00:00Z",
            ["architecture"] = DebianPackages.OciArchitecture,
            ["os"] = "linux",
            ["config"] = config,
            ["rootfs"] = new JsonObject { ["type"] = "layers", ["diff_ids"] = new JsonArray(diffId) },
            ["history"] = new JsonArray(new JsonObject { ["created"] = "1970-01-01T00:00:00Z", ["created_by"] = "kapell images build" }),
        };
        JsonObject configDescriptor = AddBlob(blobs, Bytes(image), "application/vnd.oci.image.config.v1+json");
        JsonObject manifest = new()
        {
            ["schemaVersion"] = 2, ["mediaType"] = ManifestType, ["config"] = configDescriptor, ["layers"] = new JsonArray(layerDescriptor),
        };
        JsonObject descriptor = AddBlob(blobs, Bytes(manifest), ManifestType);
        descriptor["platform"] = new JsonObject { ["architecture"] = DebianPackages.OciArchitecture, ["os"] = "linux" };
        descriptor["annotations"] = new JsonObject
        {
            ["io.containerd.image.name"] = reference,
            ["org.opencontainers.image.ref.name"] = reference[(reference.LastIndexOf(':') + 1)..],
        };
        JsonObject index = new() { ["schemaVersion"] = 2, ["manifests"] = new JsonArray(descriptor) };
        string partial = path + ".partial";
        using (FileStream file = File.Create(partial))
        using (TarWriter tar = new(file, TarEntryFormat.Ustar))
        {
            AddFile(tar, "oci-layout", Encoding.UTF8.GetBytes("{\"imageLayoutVersion\":\"1.0.0\"}"));
            AddFile(tar, "index.json", Bytes(index));
            foreach ((string digest, byte[] content) in blobs)
            {
                AddFile(tar, "blobs/sha256/" + digest, content);
            }
        }

        File.Move(partial, path, overwrite: true);
    }

    private static (byte[] Compressed, string DiffId) PackLayer(IEnumerable<LayerEntry> layer)
    {
        using MemoryStream plain = new();
        using (TarWriter tar = new(plain, TarEntryFormat.Ustar, leaveOpen: true))
        {
            foreach (LayerEntry entry in layer)
            {
                UstarTarEntry item = new(entry.Type, entry.Path)
                {
                    Mode = (UnixFileMode)entry.Mode, ModificationTime = DateTimeOffset.UnixEpoch,
                };
                if (entry.Type == TarEntryType.SymbolicLink)
                {
                    item.LinkName = entry.LinkTarget!;
                }
                else if (entry.Type == TarEntryType.RegularFile)
                {
                    item.DataStream = new MemoryStream(entry.Content!);
                }

                tar.WriteEntry(item);
            }
        }

        byte[] bytes = plain.ToArray();
        using MemoryStream packed = new();
        using (GZipStream gzip = new(packed, CompressionLevel.Optimal, leaveOpen: true))
        {
            gzip.Write(bytes);
        }

        return (packed.ToArray(), "sha256:" + Convert.ToHexStringLower(SHA256.HashData(bytes)));
    }

    private static JsonObject AddBlob(Dictionary<string, byte[]> blobs, byte[] content, string mediaType)
    {
        string digest = Convert.ToHexStringLower(SHA256.HashData(content));
        blobs[digest] = content;
        return new JsonObject { ["mediaType"] = mediaType, ["digest"] = "sha256:" + digest, ["size"] = content.Length };
    }

    private static void AddFile(TarWriter tar, string name, byte[] content) => tar.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, name)
    {
        ModificationTime = DateTimeOffset.UnixEpoch, DataStream = new MemoryStream(content),
    });

    private static byte[] Bytes(JsonNode node) => Encoding.UTF8.GetBytes(node.ToJsonString());
}

/// <summary>One file, directory or link of an image's layer.</summary>
internal sealed record LayerEntry(TarEntryType Type, string Path, int Mode, byte[]? Content = null, string? LinkTarget = null)
{
    public static LayerEntry Directory(string path, int mode = 0b111_101_101) => new(TarEntryType.Directory, path + "/", mode);

    public static LayerEntry File(string path, byte[] content, int mode = 0b110_100_100) => new(TarEntryType.RegularFile, path, mode, content);

    public static LayerEntry Text(string path, string content) => File(path, Encoding.UTF8.GetBytes(content));

    public static LayerEntry Link(string path, string target) => new(TarEntryType.SymbolicLink, path, 0b111_111_111, null, target);
}
