using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.Kubelet.Volumes;

/// <summary>hostPath volumes and their declared types. // Kubernetes: pkg/volume/hostpath checkTypeInternal</summary>
internal static class HostPaths
{
    private const UnixFileMode FolderMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead
        | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    private const UnixFileMode FileMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    public static string Check(JsonElement source)
    {
        string path = source.Text("path");
        string type = source.Text("type");
        switch (type)
        {
            case "DirectoryOrCreate":
                if (!Path.Exists(path))
                {
                    Directory.CreateDirectory(path, FolderMode);
                }

                Require(Directory.Exists(path), path, "a directory");
                break;
            case "Directory":
                Require(Directory.Exists(path), path, "a directory");
                break;
            case "FileOrCreate":
                if (!Path.Exists(path))
                {
                    File.WriteAllBytes(path, []);
                    File.SetUnixFileMode(path, FileMode);
                }

                Require(File.Exists(path), path, "a file");
                break;
            case "File":
                Require(File.Exists(path), path, "a file");
                break;
            case "Socket" or "CharDevice" or "BlockDevice":
                int wanted = type switch { "Socket" => 0xC000, "CharDevice" => 0x2000, _ => 0x6000 };
                Require(Native.FileType(path) == wanted, path, type switch { "Socket" => "a socket file", "CharDevice" => "a character device", _ => "a block device" });
                break;
            case "":
                // Upstream leaves a missing path to the runtime, which makes a folder of it.
                if (!Path.Exists(path))
                {
                    Directory.CreateDirectory(path, FolderMode);
                }

                break;
            default:
                throw new VolumeException($"{type} is an invalid volume type");
        }

        return path;
    }

    private static void Require(bool holds, string path, string what)
    {
        if (!holds)
        {
            throw new VolumeException($"hostPath type check failed: {path} is not {what}");
        }
    }
}
