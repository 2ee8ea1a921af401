using System.Collections.Concurrent;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Kapell.Client;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Kubelet.Pods;

/// <summary>
/// Sends pod statuses to the API server: only when they changed, the newest only, several pods at a time, again after a failure.
/// </summary>
internal sealed class StatusManager(KubeClient? client, TimeProvider time, ILogger log)
{
    private const int Senders = 4;
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(2);
    private static readonly string[] AddressLists = ["podIPs", "hostIPs"];
    private readonly ConcurrentDictionary<string, Entry> _entries = new(StringComparer.Ordinal);
    private readonly Channel<string> _queue = Channel.CreateUnbounded<string>(); // At most two entries a pod: see Set.

    /// <summary>The newest status of this pod: ours, or what the server holds.</summary>
    public JsonElement Latest(Pod pod) => _entries.TryGetValue(pod.Uid, out Entry? entry) && entry.Wanted is { } wanted ? wanted.Element : pod.Object.Status;

    public void Set(Pod pod, JsonObject status)
    {
        Entry entry = _entries.GetOrAdd(pod.Uid, _ => new Entry());
        byte[] bytes = JsonBytes.Of(status);
        lock (entry)
        {
            if (entry.Wanted is { } before && before.Utf8.AsSpan().SequenceEqual(bytes))
            {
                return;
            }

            entry.Wanted = new Status(pod, bytes, JsonDocument.Parse(bytes).RootElement);
            if (!entry.Queued)
            {
                entry.Queued = true;
                _queue.Writer.TryWrite(pod.Uid);
            }
        }
    }

    /// <summary>Makes sure that what was set last is at the server; false when the pod is not there any more.</summary>
    public async Task<bool> FlushAsync(string uid, CancellationToken cancellation) =>
        !_entries.TryGetValue(uid, out Entry? entry) || await SendAsync(entry, cancellation);

    /// <summary>
    /// A static pod's status goes to its image at the API server: under that image's uid, or nowhere while there is none (null).
    /// </summary>
    public Func<Pod, string?> MirrorUid { get; set; } = _ => null;

    /// <summary>Looks again whether what was set last is at the server: the pod may be another object there now.</summary>
    public void Resend(string uid)
    {
        if (_entries.TryGetValue(uid, out Entry? entry))
        {
            lock (entry)
            {
                if (entry.Wanted is not null && !entry.Queued)
                {
                    entry.Queued = true;
                    _queue.Writer.TryWrite(uid);
                }
            }
        }
    }

    public void Forget(string uid) => _entries.TryRemove(uid, out _);

    public Task RunAsync(CancellationToken cancellation) => Task.WhenAll(Enumerable.Range(0, Senders).Select(_ => SendLoopAsync(cancellation)));

    private async Task SendLoopAsync(CancellationToken cancellation)
    {
        await foreach (string uid in _queue.Reader.ReadAllAsync(cancellation))
        {
            if (!_entries.TryGetValue(uid, out Entry? entry))
            {
                continue;
            }

            lock (entry)
            {
                entry.Queued = false;
            }

            try
            {
                await SendAsync(entry, cancellation);
            }
            catch (Exception e) when (e is StatusException or HttpRequestException or TimeoutException)
            {
                Log.TaskFailed(log, "sending the status of pod " + uid, e.Message);
                await Task.Delay(RetryAfter, time, cancellation);
                lock (entry)
                {
                    if (!entry.Queued)
                    {
                        entry.Queued = true;
                        _queue.Writer.TryWrite(uid);
                    }
                }
            }
        }
    }

    private async Task<bool> SendAsync(Entry entry, CancellationToken cancellation)
    {
        await entry.Sending.WaitAsync(cancellation);
        try
        {
            Status? wanted;
            lock (entry)
            {
                wanted = entry.Wanted;
            }

            if (wanted is null || client is null)
            {
                return true;
            }

            string? uid = wanted.Pod.IsStatic ? MirrorUid(wanted.Pod) : wanted.Pod.Uid;
            if (uid is null || (ReferenceEquals(wanted, entry.Sent) && uid == entry.SentTo))
            {
                return true;
            }

            JsonObject status = JsonBytes.ParseObject(wanted.Utf8);
            // A list merged by key keeps what is not named: addresses replace the old ones, which the API server may have from before this
            // program started, whatever was sent since.
            foreach (string list in AddressLists)
            {
                (status[list] as JsonArray)?.Insert(0, new JsonObject { ["$patch"] = "replace" });
            }

            JsonObject patch = new() { ["metadata"] = new JsonObject { ["uid"] = uid }, ["status"] = status };
            try
            {
                await client.PatchAsync(Resources.Pods, wanted.Pod.Object.Key, PatchKind.Strategic, patch, RequestOptions.For("status"), cancellation);
            }
            catch (StatusException e) when (e.IsNotFound || e.IsConflict)
            {
                // Gone, or another pod by that name: nobody is left to tell.
                (entry.Sent, entry.SentTo) = (wanted, uid);
                return false;
            }

            Log.StatusSent(log, wanted.Pod.FullName, status.ToJsonString());
            (entry.Sent, entry.SentTo) = (wanted, uid);
            return true;
        }
        finally
        {
            entry.Sending.Release();
        }
    }

    private sealed record Status(Pod Pod, byte[] Utf8, JsonElement Element);

    private sealed class Entry
    {
        public Status? Wanted { get; set; } // under lock of the entry

        public bool Queued { get; set; } // under lock of the entry

        public Status? Sent { get; set; } // under Sending

        public string SentTo { get; set; } = ""; // under Sending

        public SemaphoreSlim Sending { get; } = new(1);
    }
}
