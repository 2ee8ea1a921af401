using System.Runtime.InteropServices;
using Kapell.Cli.Node;

namespace Kapell.Cli.Images;

/// <summary>Debian packages unpacked into a folder of their own; nothing is installed on the machine.</summary>
internal sealed class DebianPackages : IDisposable
{
    private readonly string _work = Directory.CreateTempSubdirectory("kapell-images-").FullName;

    public static string OciArchitecture => RuntimeInformation.OSArchitecture switch
    {
        Architecture.X64 => "amd64",
        Architecture.Arm64 => "arm64",
        Architecture other => other.ToString().ToLowerInvariant(),
    };

    public string Root => Path.Combine(_work, "root");

    /// <exception cref="CommandFailedException">apt-get or dpkg-deb failed; the message says what to do.</exception>
    public async Task FetchAsync(IReadOnlyList<string> packages, CancellationToken stopping)
    {
        string debs = Path.Combine(_work, "debs");
        Directory.CreateDirectory(debs);
        Directory.CreateDirectory(Root);
        ProcessResult download = await HostProcess.RunAsync("apt-get", ["download", "-q", .. packages], stopping, debs);
        if (download.ExitCode != 0)
        {
            // A fresh machine has no package lists yet.
            await HostProcess.MustRunAsync("apt-get", ["update", "-q"], "check the machine's package sources", stopping);
            await HostProcess.MustRunAsync("apt-get", ["download", "-q", .. packages], "check the machine's package sources", stopping, debs);
        }

        foreach (string deb in Directory.GetFiles(debs, "*.deb"))
        {
            await HostProcess.MustRunAsync("dpkg-deb", ["-x", deb, Root], "is the disk full?", stopping);
        }
    }

    /// <summary>The content of the one file of that name, wherever the packages put it; links are followed.</summary>
    public byte[] Find(string name)
    {
        foreach (string path in Directory.EnumerateFileSystemEntries(Root, name, SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            FileSystemInfo target = File.ResolveLinkTarget(path, returnFinalTarget: true) ?? new FileInfo(path);
            if (target is FileInfo { Exists: true })
            {
                return File.ReadAllBytes(target.FullName);
            }
        }

        throw new FileNotFoundException($"the Debian packages hold no file '{name}'");
    }

    public string PathOf(string relative) => Path.Combine(Root, relative);

    public void Dispose() => Directory.Delete(_work, recursive: true);
}
