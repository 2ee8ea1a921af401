using System.Text.Json;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;

namespace Kapell.Kubelet.Volumes;

/// <summary>Whether a pod's empty directories on disk hold more than they may. // Kubernetes: pkg/kubelet/eviction emptyDirLimitEviction</summary>
internal static class EmptyDirUsage
{
    /// <summary>The message of the eviction, or null. A volume in memory has its limit from the kernel.</summary>
    public static string? Excess(Pod pod, string podDir)
    {
        foreach (JsonElement volume in pod.Spec.Items("volumes"))
        {
            JsonElement source = volume.Get("emptyDir");
            decimal limit = ResourceAmounts.Of(source, "sizeLimit");
            if (limit <= 0 || source.Text("medium") == "Memory")
            {
                continue;
            }

            string name = volume.Text("name");
            string folder = Path.Combine(podDir, "volumes", "kubernetes.io~empty-dir", name);
            if (Directory.Exists(folder) && Bytes(folder) > limit)
            {
                return $"Usage of EmptyDir volume \"{name}\" exceeds the limit \"{source.Text("sizeLimit")}\". ";
            }
        }

        return null;
    }

    private static long Bytes(string folder)
    {
        EnumerationOptions all = new() { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.ReparsePoint };
        long sum = 0;
        foreach (FileInfo file in new DirectoryInfo(folder).EnumerateFiles("*", all))
        {
            try
            {
                sum += file.Length;
            }
            catch (FileNotFoundException)
            {
                // Deleted since it was listed.
            }
        }

        return sum;
    }
}
