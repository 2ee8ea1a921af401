using System.Globalization;

namespace Kapell.Kubelet.Volumes;

/// <summary>One file of a volume made from an API object.</summary>
internal readonly record struct PayloadFile(byte[] Data, UnixFileMode Mode);

/// <summary>
/// Writes a whole set of files into a volume such that a reader sees the old set or the new one, never a mixture: the files lie in
/// a folder of their own, the link <c>..data</c> is swapped in one rename, and the visible names are links through it.
/// // Kubernetes: pkg/volume/util/atomic_writer.go
/// </summary>
internal static class AtomicWriter
{
    private const string DataLink = "..data";
    private const string NewDataLink = "..data_tmp";

    /// <returns>False when the volume already holds exactly this.</returns>
    public static bool Write(string folder, IReadOnlyDictionary<string, PayloadFile> payload, DateTimeOffset now, int? group)
    {
        foreach (string path in payload.Keys)
        {
            Validate(path);
        }

        string link = Path.Combine(folder, DataLink);
        string? old = new FileInfo(link).LinkTarget;
        string? oldFolder = old is null ? null : Path.Combine(folder, old);
        if (oldFolder is not null && Same(oldFolder, payload))
        {
            MakeVisible(folder, payload);
            return false;
        }

        string name = ".." + now.UtcDateTime.ToString("yyyy_MM_dd_HH_mm_ss.fffffff", CultureInfo.InvariantCulture);
        string fresh = Path.Combine(folder, name);
        Directory.CreateDirectory(fresh);
        foreach ((string path, PayloadFile file) in payload)
        {
            string target = Path.Combine(fresh, path);
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.WriteAllBytes(target, file.Data);
            File.SetUnixFileMode(target, file.Mode);
        }

        if (group is { } gid)
        {
            Ownership.SetGroup(fresh, gid, readOnly: true);
        }

        string temporary = Path.Combine(folder, NewDataLink);
        File.Delete(temporary);
        File.CreateSymbolicLink(temporary, name);
        Native.Rename(temporary, link);
        MakeVisible(folder, payload);
        RemoveStale(folder, payload, name);
        return true;
    }

    private static void Validate(string path)
    {
        string[] parts = path.Split('/');
        bool good = path.Length is > 0 and <= 4096 && !Path.IsPathRooted(path) && !parts.Contains("..") && !path.StartsWith("..", StringComparison.Ordinal)
            && parts.All(p => p.Length is > 0 and <= 255);
        if (!good)
        {
            throw new VolumeException($"invalid path: {path}");
        }
    }

    private static bool Same(string folder, IReadOnlyDictionary<string, PayloadFile> payload)
    {
        if (!Directory.Exists(folder))
        {
            return false;
        }

        HashSet<string> have = [.. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(folder, f))];
        return have.SetEquals(payload.Keys)
            && payload.All(p => File.ReadAllBytes(Path.Combine(folder, p.Key)).AsSpan().SequenceEqual(p.Value.Data));
    }

    private static void MakeVisible(string folder, IReadOnlyDictionary<string, PayloadFile> payload)
    {
        foreach (string top in payload.Keys.Select(p => p.Split('/')[0]).Distinct(StringComparer.Ordinal))
        {
            string visible = Path.Combine(folder, top);
            if (new FileInfo(visible).LinkTarget is null)
            {
                File.CreateSymbolicLink(visible, Path.Combine(DataLink, top));
            }
        }
    }

    private static void RemoveStale(string folder, IReadOnlyDictionary<string, PayloadFile> payload, string current)
    {
        HashSet<string> tops = [.. payload.Keys.Select(p => p.Split('/')[0])];
        foreach (string entry in Directory.EnumerateFileSystemEntries(folder))
        {
            string name = Path.GetFileName(entry);
            bool isLink = new FileInfo(entry).LinkTarget is not null;
            if (isLink && name != DataLink && !tops.Contains(name))
            {
                File.Delete(entry);
            }
            else if (!isLink && name.StartsWith("..", StringComparison.Ordinal) && name != current)
            {
                Directory.Delete(entry, recursive: true);
            }
        }
    }
}

/// <summary>A volume cannot be set up; the message goes into the FailedMount event.</summary>
internal sealed class VolumeException(string message) : Exception(message);

/// <summary>fsGroup: the group owns the volume's files and may read (and write) them. // Kubernetes: volume_linux.go SetVolumeOwnership</summary>
internal static class Ownership
{
    public static void SetGroup(string path, int group, bool readOnly)
    {
        Native.ChangeOwner(path, -1, group);
        if (new FileInfo(path).LinkTarget is not null)
        {
            return;
        }

        UnixFileMode read = UnixFileMode.UserRead | UnixFileMode.GroupRead;
        UnixFileMode mask = readOnly ? read : read | UnixFileMode.UserWrite | UnixFileMode.GroupWrite;
        bool folder = Directory.Exists(path);
        if (folder)
        {
            mask |= UnixFileMode.SetGroup | UnixFileMode.UserExecute | UnixFileMode.GroupExecute;
        }

        File.SetUnixFileMode(path, File.GetUnixFileMode(path) | mask);
        if (folder)
        {
            foreach (string child in Directory.EnumerateFileSystemEntries(path))
            {
                SetGroup(child, group, readOnly);
            }
        }
    }
}
