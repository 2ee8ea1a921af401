using System.Formats.Tar;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Kapell.Cli.Images;

/// <summary>Where a blob lies inside an archive: nothing is unpacked, it is served from there.</summary>
internal sealed record BlobPlace(string Archive, long Offset, long Bytes, string MediaType);

/// <summary>
/// The images in a folder of archives (OCI image layouts in tar files, as <c>kapell images build</c>, <c>skopeo copy
/// oci-archive:</c>, <c>buildah push oci-archive:</c> and <c>docker save</c> since Docker 25 write them), indexed by reference and
/// digest. The folder is read again when it has changed. Archives that cannot be read are reported and left out.
/// </summary>
internal sealed class ImageStore(string folder, Action<string> report)
{
    private const long IndexBytesMax = 4 << 20;
    private readonly Lock _gate = new(); // guards the three fields below
    private Dictionary<string, string> _digestByReference = new(StringComparer.Ordinal);
    private Dictionary<string, BlobPlace> _blobs = new(StringComparer.Ordinal);
    private string _seen = "";

    public string Folder => folder;

    public IReadOnlyCollection<string> References
    {
        get
        {
            lock (_gate)
            {
                Refresh();
                return [.. _digestByReference.Keys];
            }
        }
    }

    /// <param name="host">The registry that the client wanted (<c>docker.io</c>); empty when it did not say.</param>
    public BlobPlace? FindManifest(string host, string repository, string reference, out string digest)
    {
        lock (_gate)
        {
            Refresh();
            digest = reference;
            if (!reference.StartsWith("sha256:", StringComparison.Ordinal))
            {
                string suffix = repository + ":" + reference;
                string? found = host.Length > 0
                    ? _digestByReference.GetValueOrDefault(host + "/" + suffix)
                    : _digestByReference.FirstOrDefault(p => p.Key.EndsWith("/" + suffix, StringComparison.Ordinal)).Value;
                if (found is null)
                {
                    return null;
                }

                digest = found;
            }

            return _blobs.GetValueOrDefault(digest);
        }
    }

    public BlobPlace? FindBlob(string digest)
    {
        lock (_gate)
        {
            Refresh();
            return _blobs.GetValueOrDefault(digest);
        }
    }

    public static Stream Open(BlobPlace place)
    {
        FileStream file = new(place.Archive, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 64 << 10, useAsync: true);
        file.Position = place.Offset;
        return file;
    }

    /// <summary>Docker's short names are spelled out: <c>nginx</c> is <c>docker.io/library/nginx:latest</c>.</summary>
    public static string Normalize(string reference)
    {
        int slash = reference.IndexOf('/');
        string first = slash < 0 ? "" : reference[..slash];
        bool hasHost = first.Contains('.') || first.Contains(':') || first == "localhost";
        string name = hasHost ? reference : "docker.io/" + (slash < 0 ? "library/" : "") + reference;
        return name.LastIndexOf(':') > name.LastIndexOf('/') ? name : name + ":latest";
    }

    private void Refresh()
    {
        string[] archives = Directory.Exists(folder)
            ? [.. Directory.GetFiles(folder, "*.tar").Order(StringComparer.Ordinal)]
            : [];
        string seen = string.Join('\n', archives.Select(a => $"{a} {File.GetLastWriteTimeUtc(a).Ticks} {new FileInfo(a).Length}"));
        if (seen == _seen)
        {
            return;
        }

        Dictionary<string, string> references = new(StringComparer.Ordinal);
        Dictionary<string, BlobPlace> blobs = new(StringComparer.Ordinal);
        foreach (string archive in archives)
        {
            try
            {
                ReadArchive(archive, references, blobs);
            }
            catch (Exception e) when (e is IOException or InvalidDataException or JsonException or InvalidOperationException or FormatException)
            {
                report($"image archive {archive} cannot be read and is left out: {e.Message}");
            }
        }

        _seen = seen;
        _digestByReference = references;
        _blobs = blobs;
    }

    private static void ReadArchive(string archive, Dictionary<string, string> references, Dictionary<string, BlobPlace> blobs)
    {
        using FileStream file = new(archive, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        using TarReader tar = new(file);
        JsonObject? index = null;
        Dictionary<string, BlobPlace> found = new(StringComparer.Ordinal);
        while (tar.GetNextEntry() is { } entry)
        {
            string name = entry.Name.TrimStart('.', '/');
            if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile))
            {
                continue;
            }

            if (name == "index.json" && entry.Length < IndexBytesMax)
            {
                index = JsonNode.Parse(entry.DataStream!) as JsonObject;
            }
            else if (name.StartsWith("blobs/sha256/", StringComparison.Ordinal))
            {
                found["sha256:" + name["blobs/sha256/".Length..]] = new BlobPlace(archive, entry.DataOffset, entry.Length, "application/octet-stream");
            }
        }

        if (index is null)
        {
            throw new InvalidDataException("it holds no index.json, so it is no OCI image layout");
        }

        foreach (JsonNode item in (index["manifests"]?.AsArray() ?? []).OfType<JsonNode>())
        {
            string digest = (string?)item["digest"] ?? throw new InvalidDataException("index.json names a manifest without digest");
            if (!found.TryGetValue(digest, out BlobPlace? place))
            {
                throw new InvalidDataException($"index.json names {digest}, which is not in the archive");
            }

            found[digest] = place with { MediaType = (string?)item["mediaType"] ?? "application/vnd.oci.image.manifest.v1+json" };
            string? name = (string?)item["annotations"]?["io.containerd.image.name"] ?? (string?)item["annotations"]?["org.opencontainers.image.ref.name"];
            if (name is not null)
            {
                references[Normalize(name)] = digest;
            }
        }

        foreach ((string digest, BlobPlace place) in found)
        {
            blobs[digest] = place;
        }
    }
}
