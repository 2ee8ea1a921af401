using System.Globalization;
using System.Text;
using Kapell.Kubelet.Pods;
using Kapell.Kubelet.Runtime;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Kapell.Kubelet.Server;

/// <summary>What a log request asks for; read from the query.</summary>
internal sealed record LogRequest
{
    public bool Follow { get; init; }

    public bool Previous { get; init; }

    public bool Timestamps { get; init; }

    public long TailLines { get; init; } = -1;

    public long LimitBytes { get; init; } = long.MaxValue;

    public DateTimeOffset Since { get; init; } = DateTimeOffset.MinValue;

    /// <summary>stdout, stderr, or empty for both.</summary>
    public string Stream { get; init; } = "";

    /// <exception cref="FormatException">A value cannot be read.</exception>
    public static LogRequest Read(IQueryCollection query, DateTimeOffset now)
    {
        bool Flag(string name) => query.TryGetValue(name, out var v) && v.ToString() is "true" or "1" or "";
        long Number(string name, long absent) =>
            query.TryGetValue(name, out var v) ? long.Parse(v.ToString(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture) : absent;
        long seconds = Number("sinceSeconds", -1);
        long bytes = Number("limitBytes", long.MaxValue);
        long tail = Number("tailLines", -1);
        if (bytes < 1 || (query.ContainsKey("tailLines") && tail < 0) || (query.ContainsKey("sinceSeconds") && seconds < 1))
        {
            throw new FormatException("limitBytes and sinceSeconds must be greater than 0, tailLines not negative");
        }

        return new LogRequest
        {
            Follow = Flag("follow"), Previous = Flag("previous"), Timestamps = Flag("timestamps"), TailLines = tail, LimitBytes = bytes,
            Stream = query["stream"].ToString() switch { "Stdout" => "stdout", "Stderr" => "stderr", _ => "" },
            Since = seconds > 0 ? now.AddSeconds(-seconds)
                : query.TryGetValue("sinceTime", out var t) ? DateTimeOffset.Parse(t.ToString(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal)
                : DateTimeOffset.MinValue,
        };
    }
}

/// <summary>Serves container logs out of the CRI log files, followed until the container ends. // Kubernetes: pkg/kubelet/kuberuntime/logs</summary>
internal sealed class ContainerLogs(RuntimeReader reader, TimeProvider time)
{
    private const int BufferBytes = 64 * 1024;
    private const int LineBytesMax = 1024 * 1024;
    private static readonly TimeSpan PollEvery = TimeSpan.FromMilliseconds(100);

    public async Task ServeAsync(HttpContext context, Pod pod, string container)
    {
        LogRequest request;
        try
        {
            request = LogRequest.Read(context.Request.Query, time.GetUtcNow());
        }
        catch (Exception e) when (e is FormatException or OverflowException)
        {
            await KubeletServer.TextAsync(context, 422, "Unable to decode the request for container logs: " + e.Message);
            return;
        }

        RuntimePod runtime = await reader.PodAsync(pod.Uid, context.RequestAborted);
        (ContainerInfo? info, string error) = Choose(pod, runtime, container, request.Previous);
        if (info is null || info.LogPath.Length == 0)
        {
            await KubeletServer.TextAsync(context, 400, error);
            return;
        }

        context.Response.ContentType = "text/plain";
        context.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        await context.Response.StartAsync(context.RequestAborted);
        await CopyAsync(info, pod.Uid, request, context.Response.Body, context.RequestAborted);
    }

    // Kubernetes: kubelet_pods.go validateContainerLogStatus
    private static (ContainerInfo?, string) Choose(Pod pod, RuntimePod runtime, string container, bool previous)
    {
        if (pod.Find(container) is null)
        {
            return (null, $"container \"{container}\" in pod \"{pod.Name}\" is not available");
        }

        ContainerInfo? latest = runtime.Latest(container);
        if (previous)
        {
            // While a container waits for its next start the run that ended last is the previous one.
            bool waits = latest is { State: RunState.Exited } && WaitingReason(pod, container).Length > 0;
            ContainerInfo? last = waits ? latest : runtime.Previous(container);
            return (last, $"previous terminated container \"{container}\" in pod \"{pod.Name}\" not found");
        }

        return latest is { State: RunState.Running or RunState.Exited }
            ? (latest, "")
            : (null, $"container \"{container}\" in pod \"{pod.Name}\" is waiting to start: {WaitingText(WaitingReason(pod, container))}");
    }

    private static string WaitingText(string reason) => reason switch
    {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        "" => "ContainerCreating",
        _ => reason,
    };

    /// <summary>Empty when it does not wait.</summary>
    private static string WaitingReason(Pod pod, string container)
    {
        foreach (string list in (ReadOnlySpan<string>)["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"])
        {
            foreach (System.Text.Json.JsonElement status in Machinery.JsonElementReading.Items(pod.Object.Status, list))
            {
                if (Machinery.JsonElementReading.Text(status, "name") == container)
                {
                    return Machinery.JsonElementReading.Text(Machinery.JsonElementReading.Get(status, "state", "waiting"), "reason");
                }
            }
        }

        return "";
    }

    private async Task CopyAsync(ContainerInfo info, string uid, LogRequest request, Stream output, CancellationToken cancellation)
    {
        if (!File.Exists(info.LogPath))
        {
            return;
        }

        FileStream file = Open(info.LogPath);
        try
        {
            file.Position = request.TailLines >= 0 ? TailStart(file, request.TailLines) : 0;
            LogLines lines = new(request);
            byte[] buffer = new byte[BufferBytes];
            int held = 0;
            bool ended = false;
            while (true)
            {
                int read = await file.ReadAsync(buffer.AsMemory(held), cancellation);
                held += read;
                int used = lines.Take(buffer.AsSpan(0, held), final: false);
                held -= used;
                buffer.AsSpan(used, held).CopyTo(buffer);
                await FlushAsync(lines, output, cancellation);
                if (lines.Full)
                {
                    return;
                }

                if (held == buffer.Length)
                {
                    Array.Resize(ref buffer, Math.Min(buffer.Length * 2, LineBytesMax));
                    if (held == buffer.Length)
                    {
                        return; // A line beyond any the runtime writes: the file is not a log.
                    }
                }

                if (read > 0)
                {
                    continue;
                }

                if (!request.Follow || ended)
                {
                    lines.Take(buffer.AsSpan(0, held), final: true);
                    await FlushAsync(lines, output, cancellation);
                    return;
                }

                if (File.Exists(info.LogPath) && new FileInfo(info.LogPath).Length < file.Position)
                {
                    await file.DisposeAsync(); // Rotated: go on in the new file.
                    file = Open(info.LogPath);
                    held = 0;
                    continue;
                }

                // One more read after the end was seen, for what was written in between.
                ended = !await IsRunningAsync(uid, info.Id, cancellation);
                await Task.Delay(PollEvery, time, cancellation);
            }
        }
        finally
        {
            await file.DisposeAsync();
        }
    }

    private static async Task FlushAsync(LogLines lines, Stream output, CancellationToken cancellation)
    {
        if (lines.Output.Length > 0)
        {
            await output.WriteAsync(lines.Output.GetBuffer().AsMemory(0, (int)lines.Output.Length), cancellation);
            await output.FlushAsync(cancellation);
            lines.Output.SetLength(0);
        }
    }

    private async Task<bool> IsRunningAsync(string uid, string id, CancellationToken cancellation) =>
        (await reader.PodAsync(uid, cancellation)).Containers.Any(c => c.Id == id && c.State == RunState.Running);

    private static FileStream Open(string path) =>
        new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, FileOptions.Asynchronous);

    /// <summary>Where the last so many lines begin.</summary>
    private static long TailStart(FileStream file, long lines)
    {
        long end = file.Length;
        byte[] block = new byte[BufferBytes];
        long seen = 0;
        long at = end;
        while (at > 0)
        {
            int size = (int)Math.Min(block.Length, at);
            at -= size;
            file.Position = at;
            file.ReadExactly(block, 0, size);
            for (int i = size - 1; i >= 0; i--)
            {
                // The newline that ends the file ends the last line and begins none.
                if (block[i] == '\n' && at + i != end - 1 && ++seen >= lines)
                {
                    return lines == 0 ? end : at + i + 1;
                }
            }
        }

        return lines == 0 ? end : 0;
    }
}

/// <summary>Takes CRI log lines (<c>time stream tag text</c>) apart and collects what the request wants to see.</summary>
internal sealed class LogLines(LogRequest request)
{
    private long _left = request.LimitBytes;
    private bool _reached = request.Since == DateTimeOffset.MinValue;
    private bool _inside; // The line before was partial: what follows goes on in the same output line.

    public MemoryStream Output { get; } = new();

    public bool Full => _left <= 0;

    /// <returns>How many bytes were consumed; an unfinished line stays unless it is the final one.</returns>
    public int Take(ReadOnlySpan<byte> bytes, bool final)
    {
        int used = 0;
        while (used < bytes.Length && !Full)
        {
            int end = bytes[used..].IndexOf((byte)'\n');
            if (end < 0 && !final)
            {
                break;
            }

            int length = end < 0 ? bytes.Length - used : end;
            Line(bytes.Slice(used, length));
            used += end < 0 ? length : length + 1;
        }

        return used;
    }

    private void Line(ReadOnlySpan<byte> line)
    {
        int first = line.IndexOf((byte)' ');
        int second = first < 0 ? -1 : line[(first + 1)..].IndexOf((byte)' ') + first + 1;
        if (first <= 0 || second <= first)
        {
            return; // Not a log line; upstream skips it too.
        }

        ReadOnlySpan<byte> stamp = line[..first];
        ReadOnlySpan<byte> stream = line[(first + 1)..second];
        ReadOnlySpan<byte> rest = line[(second + 1)..];
        int third = rest.IndexOf((byte)' ');
        ReadOnlySpan<byte> tag = third < 0 ? rest : rest[..third];
        ReadOnlySpan<byte> text = third < 0 ? [] : rest[(third + 1)..];
        if (!_reached && DateTimeOffset.TryParse(Encoding.ASCII.GetString(stamp), CultureInfo.InvariantCulture, out DateTimeOffset at))
        {
            _reached = at >= request.Since;
        }

        if (!_reached || (request.Stream.Length > 0 && !stream.SequenceEqual(Encoding.ASCII.GetBytes(request.Stream))))
        {
            return;
        }

        bool partial = tag.Length > 0 && tag[0] == 'P';
        if (request.Timestamps && !_inside)
        {
            Write(stamp);
            Write(" "u8);
        }

        Write(text);
        if (!partial)
        {
            Write("\n"u8);
        }

        _inside = partial;
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        int count = (int)Math.Min(bytes.Length, _left);
        Output.Write(bytes[..count]);
        _left -= count;
    }
}
