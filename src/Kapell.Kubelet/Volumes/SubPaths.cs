using Kapell.Kubelet.Pods;

namespace Kapell.Kubelet.Volumes;

/// <summary>
/// A part of a volume as a mount's source. A container may have planted links in the volume: the path is followed link by link and
/// refused when it leaves the volume; what the runtime gets holds no links.
/// </summary>
internal static class SubPaths
{
    private const int LinksMax = 40;
    private const string ConfigError = "CreateContainerConfigError";

    public static string Resolve(string volume, string subPath, string container, string volumeName, bool readOnlyVolume)
    {
        if (Path.IsPathRooted(subPath) || subPath.Split('/').Contains(".."))
        {
            throw new StartException(ConfigError, $"subPath '{subPath}' must be a relative path without '..'");
        }

        string root = RealPath(volume, volume, check: false);
        string path = RealPath(Path.Combine(root, subPath), root, check: true);
        if (!Path.Exists(path))
        {
            if (readOnlyVolume)
            {
                throw new StartException(ConfigError, $"failed to prepare subPath for volumeMount \"{volumeName}\" of container \"{container}\"");
            }

            Directory.CreateDirectory(path);
            File.SetUnixFileMode(path, File.GetUnixFileMode(root));
        }

        return path;
    }

    private static string RealPath(string path, string root, bool check)
    {
        string done = "/";
        Stack<string> rest = new(path.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse());
        int links = 0;
        while (rest.TryPop(out string? part))
        {
            if (part == "..")
            {
                done = Path.GetDirectoryName(done) ?? "/";
                continue;
            }

            string next = part == "." ? done : Path.Combine(done, part);
            if (new FileInfo(next).LinkTarget is not { } target)
            {
                done = next;
                continue;
            }

            if (++links > LinksMax)
            {
                throw new StartException(ConfigError, $"too many links in subPath {path}");
            }

            done = Path.IsPathRooted(target) ? "/" : done;
            foreach (string piece in target.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse())
            {
                rest.Push(piece);
            }
        }

        if (check && done != root && !done.StartsWith(root + "/", StringComparison.Ordinal))
        {
            throw new StartException(ConfigError, $"subPath {path} leads out of the volume");
        }

        return done;
    }
}
