using System.Globalization;
using Grpc.Core;
using Kapell.Kubelet.Cri;
using Kapell.Kubelet.Cri.V1;
using Microsoft.Extensions.Logging;

namespace Kapell.Kubelet.Runtime;

/// <summary>Rotates container logs by size, and removes unused images when the disk fills up.</summary>
internal sealed class Housekeeping(CriClient cri, KubeletOptions options, KubeletEvents events, TimeProvider time, ILogger log)
{
    private const int ImageHighPercent = 85;
    private const int ImageLowPercent = 80;
    private static readonly TimeSpan LogsEvery = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ImagesEvery = TimeSpan.FromMinutes(5);

    public Task RunAsync(CancellationToken cancellation) => Task.WhenAll(
        EveryAsync(LogsEvery, "rotating logs", RotateAsync, cancellation),
        EveryAsync(ImagesEvery, "removing unused images", CollectImagesAsync, cancellation));

    private async Task EveryAsync(TimeSpan interval, string what, Func<CancellationToken, Task> action, CancellationToken cancellation)
    {
        while (true)
        {
            await Task.Delay(interval, time, cancellation);
            try
            {
                await action(cancellation);
            }
            catch (Exception e) when (e is RpcException or IOException && !cancellation.IsCancellationRequested)
            {
                Log.TaskFailed(log, what, e.Message);
            }
        }
    }

    private async Task RotateAsync(CancellationToken cancellation)
    {
        ListContainersRequest running = new()
        {
            Filter = new ContainerFilter { State = new ContainerStateValue { State = ContainerState.ContainerRunning } },
        };
        foreach (Container container in (await cri.Runtime.ListContainersAsync(running, cancellationToken: cancellation)).Containers)
        {
            string uid = container.Labels.GetValueOrDefault(RuntimeLabels.PodUid, "");
            string folder = options.PodLogDir(
                container.Labels.GetValueOrDefault(RuntimeLabels.PodNamespace, ""), container.Labels.GetValueOrDefault(RuntimeLabels.PodName, ""), uid);
            string path = Path.Combine(folder, container.Metadata.Name, container.Metadata.Attempt.ToString(CultureInfo.InvariantCulture) + ".log");
            if (!File.Exists(path) || new FileInfo(path).Length < options.ContainerLogBytesMax)
            {
                continue;
            }

            string old = path + "." + time.GetUtcNow().UtcDateTime.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture);
            File.Move(path, old, overwrite: true);
            await cri.Runtime.ReopenContainerLogAsync(new ReopenContainerLogRequest { ContainerId = container.Id }, cancellationToken: cancellation);
            // The live file counts as one of those kept.
            foreach (string file in Directory.EnumerateFiles(Path.GetDirectoryName(path)!, Path.GetFileName(path) + ".*")
                .OrderDescending(StringComparer.Ordinal).Skip(options.ContainerLogFilesMax - 1))
            {
                File.Delete(file);
            }
        }
    }

    // Kubernetes: pkg/kubelet/images/image_gc_manager.go: above the high mark remove what no container uses, down to the low mark.
    private async Task CollectImagesAsync(CancellationToken cancellation)
    {
        DriveInfo drive = new(options.RootDir);
        long used = drive.TotalSize - drive.AvailableFreeSpace;
        if (used * 100 / drive.TotalSize < ImageHighPercent)
        {
            return;
        }

        long toFree = used - (drive.TotalSize * ImageLowPercent / 100);
        HashSet<string> inUse = [];
        foreach (Container c in (await cri.Runtime.ListContainersAsync(new ListContainersRequest(), cancellationToken: cancellation)).Containers)
        {
            inUse.Add(c.ImageRef);
            inUse.Add(c.Image?.Image ?? "");
        }

        long freed = 0;
        foreach (Image image in (await cri.Images.ListImagesAsync(new ListImagesRequest(), cancellationToken: cancellation)).Images.OrderByDescending(i => i.Size))
        {
            bool keep = inUse.Contains(image.Id) || image.RepoTags.Concat(image.RepoDigests).Any(inUse.Contains)
                || image.RepoTags.Any(t => t.Contains("/pause:", StringComparison.Ordinal)) || image.RepoTags.Contains(options.InfraImage);
            if (keep || freed >= toFree)
            {
                continue;
            }

            await cri.Images.RemoveImageAsync(new RemoveImageRequest { Image = new ImageSpec { Image = image.Id } }, cancellationToken: cancellation);
            freed += (long)image.Size;
        }

        if (freed < toFree)
        {
            events.Node("Warning", "FreeDiskSpaceFailed", string.Create(
                CultureInfo.InvariantCulture, $"Failed to garbage collect required amount of images. Attempted to free {toFree} bytes, but only found {freed} bytes eligible to free."));
        }
    }
}
