using System.Collections.Concurrent;
using System.Net;
using Kapell.Etcd.Server.Hosting;
using Kapell.Raft;
using Kapell.Raft.Encoding;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;

namespace Kapell.Etcd.Server.Peers;

/// <summary>
/// Streams the newest checkpoint file to a member that is too far behind, at a rate that leaves room for everything else. The file checks
/// itself block by block. One at a time for each member; the outcome is reported either way.
/// </summary>
internal sealed class SnapshotSender(PeerContext context, IDisk disk, string directory) : IAsyncDisposable
{
    // etcd: rafthttp snapshot_sender.go: no limit; a follower that loads at full speed makes the leader's disk and link slow for all.
    private const long BytesPerSecond = 256L << 20;
    private const int PieceBytes = 256 * 1024;
    private static readonly TimeSpan Timeout = TimeSpan.FromHours(1);

    private readonly ConcurrentDictionary<MemberId, Task> _running = new();
    private readonly CancellationTokenSource _stopping = new();

    public bool IsRunning => _running.Values.Any(static t => !t.IsCompleted);

    public void Begin(InstallSnapshot message, IReadOnlyList<string> urls, SnapshotCounts counts)
    {
        if (_running.TryGetValue(message.To, out Task? running) && !running.IsCompleted)
        {
            // The one under way reports when it ends.
            return;
        }

        _running[message.To] = Task.Run(() => SendAsync(message, urls, counts));
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await Task.WhenAll(_running.Values);
        _stopping.Dispose();
    }

    private async Task SendAsync(InstallSnapshot message, IReadOnlyList<string> urls, SnapshotCounts counts)
    {
        bool whole = false;
        long began = context.Time.GetTimestamp();
        counts.Begun();
        try
        {
            string path = CheckpointFile.NewestPath(disk, directory) ?? throw new IOException("there is no checkpoint to send");
            using IDiskFile file = disk.Open(path, DiskOpen.Read);
            string url = urls.Count > 0 ? urls[0] : throw new IOException("no peer address is known");
            using HttpRequestMessage request = context.Request(HttpMethod.Post, url, PeerProtocol.SnapshotPath, message.To);
            request.Headers.Add("X-Kapell-Message", Convert.ToBase64String(RaftCodec.Encode(message)));
            request.Content = new FileContent(file, context.Time, _stopping.Token);
            using CancellationTokenSource timeout = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
            timeout.CancelAfter(Timeout);
            using HttpResponseMessage response = await context.Client.SendAsync(request, timeout.Token);
            whole = response.StatusCode == HttpStatusCode.NoContent;
            if (whole)
            {
                Log.SnapshotSent(context.Logger, message.To, file.Length);
            }
            else
            {
                Log.SnapshotRefused(context.Logger, message.To, await context.ReasonAsync(response, timeout.Token));
            }
        }
        catch (Exception e) when (e is IOException or HttpRequestException or OperationCanceledException)
        {
            Log.SnapshotRefused(context.Logger, message.To, e.Message);
        }
        finally
        {
            counts.Ended(context.Time.GetElapsedTime(began), whole);
            context.Events.SnapshotSent(message.To, whole);
        }
    }

    private sealed class FileContent(IDiskFile file, TimeProvider time, CancellationToken stopping) : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? transport)
        {
            byte[] piece = new byte[PieceBytes];
            long begun = time.GetTimestamp();
            long sent = 0;
            while (sent < file.Length)
            {
                int read = file.Read(sent, piece);
                await stream.WriteAsync(piece.AsMemory(0, read), stopping);
                sent += read;
                TimeSpan due = TimeSpan.FromSeconds((double)sent / BytesPerSecond);
                TimeSpan early = due - time.GetElapsedTime(begun);
                if (early > TimeSpan.FromMilliseconds(5))
                {
                    await Task.Delay(early, time, stopping);
                }
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = file.Length;
            return true;
        }
    }
}
