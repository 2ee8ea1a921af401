using System.Text.Json.Nodes;
using System.Threading.Channels;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Machinery;
using Kapell.Scheduler.Cache;
using Kapell.Scheduler.Framework;
using Kapell.Scheduler.Queue;
using Microsoft.Extensions.Logging;

namespace Kapell.Scheduler;

/// <summary>
/// One loop owns cache and queue and takes all changes from a bounded inbox; bindings are sent beside it, a bounded number at a time,
/// and report back into the inbox. Everything it knows and does goes through the API server.
/// </summary>
internal sealed class SchedulerLoop(
    KubeClient client, InformerFactory informers, SchedulingAlgorithm algorithm, EventRecorder events, string schedulerName, TimeProvider time, ILogger log) : IDisposable
{
    private const int BindingsMax = 16;
    private static readonly TimeSpan IdleMax = TimeSpan.FromMinutes(1);
    private readonly SchedulerCache _cache = new();
    private readonly SchedulingQueue _queue = new();
    private readonly Channel<Action> _inbox = Channel.CreateBounded<Action>(new BoundedChannelOptions(100_000) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
    private readonly SemaphoreSlim _bindings = new(BindingsMax);
    private readonly HashSet<Task> _underWay = [];

    public async Task RunAsync(CancellationToken stopping)
    {
        informers.For(Resources.Nodes).AddHandler(new InformerHandler
        {
            OnAdded = node => Post(() => NodeSeen(node)),
            OnUpdated = (_, node) => Post(() => NodeSeen(node)),
            OnDeleted = node => Post(() => _cache.RemoveNode(node.Name)),
        });
        informers.For(Resources.Pods).AddHandler(new InformerHandler
        {
            OnAdded = pod => Post(() => PodSeen(pod)),
            OnUpdated = (_, pod) => Post(() => PodSeen(pod)),
            OnDeleted = pod => Post(() => PodGone(pod.Uid)),
        });
        using CancellationTokenSource own = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        Task feeding = informers.RunAsync(own.Token);
        try
        {
            await informers.WaitForSyncAsync(own.Token);
            while (!own.IsCancellationRequested)
            {
                await StepAsync(own.Token);
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // Asked to stop.
        }
        finally
        {
            await own.CancelAsync();
            await Task.WhenAll([feeding, .. _underWay]);
        }
    }

    public void Dispose() => _bindings.Dispose();

    /// <summary>Called on an informer's loop: never waits long, the inbox is larger than a cluster.</summary>
    private void Post(Action change)
    {
        if (!_inbox.Writer.TryWrite(change))
        {
            throw new InvalidOperationException("the scheduler's inbox is full: the loop does not keep up with the watch");
        }
    }

    private async Task StepAsync(CancellationToken stopping)
    {
        while (_inbox.Reader.TryRead(out Action? change))
        {
            change();
        }

        _underWay.RemoveWhere(t => t.IsCompleted);
        if (_queue.Pop(time.GetUtcNow()) is { } pod)
        {
            await PlaceAsync(pod, stopping);
            return;
        }

        DateTimeOffset now = time.GetUtcNow();
        TimeSpan idle = _queue.NextDue() is { } due && due - now < IdleMax ? due - now : IdleMax;
        using CancellationTokenSource wait = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        using ITimer timer = time.CreateTimer(static s => ((CancellationTokenSource)s!).Cancel(), wait, idle > TimeSpan.Zero ? idle : TimeSpan.FromMilliseconds(1), Timeout.InfiniteTimeSpan);
        try
        {
            await _inbox.Reader.WaitToReadAsync(wait.Token);
        }
        catch (OperationCanceledException) when (!stopping.IsCancellationRequested)
        {
            // Something in the queue is due.
        }
    }

    private void NodeSeen(KubeObject node)
    {
        KubeObject? before = _cache.Node(node.Name)?.Node;
        _cache.SetNode(node);
        if (before is null || ChangedForScheduling(before, node))
        {
            _queue.MoveAll(time.GetUtcNow());
        }
    }

    /// <summary>Heartbeats change only conditions; they must not wake every waiting pod.</summary>
    private static bool ChangedForScheduling(KubeObject a, KubeObject b) =>
        a.Spec.ToString() != b.Spec.ToString()
        || a.Status.Get("allocatable").ToString() != b.Status.Get("allocatable").ToString()
        || a.Metadata.Get("labels").ToString() != b.Metadata.Get("labels").ToString();

    private void PodSeen(KubeObject pod)
    {
        PodInfo info = new(pod);
        if (info.IsTerminal)
        {
            PodGone(pod.Uid);
        }
        else if (info.NodeName.Length > 0)
        {
            _queue.Remove(pod.Uid);
            _cache.SetPod(info);
        }
        else if (info.SchedulerName == schedulerName && !info.IsGated && !pod.IsDeleting && !_cache.Contains(pod.Uid))
        {
            _queue.AddOrUpdate(info, time.GetUtcNow());
        }
        else if (pod.IsDeleting || info.IsGated)
        {
            _queue.Remove(pod.Uid);
        }
    }

    private void PodGone(string uid)
    {
        _queue.Remove(uid);
        if (_cache.Contains(uid))
        {
            _cache.RemovePod(uid);
            _queue.MoveAll(time.GetUtcNow());
        }
    }

    private async Task PlaceAsync(PodInfo pod, CancellationToken stopping)
    {
        Placement placement = algorithm.Schedule(pod, _cache.Nodes);
        await _bindings.WaitAsync(stopping);
        if (placement.NodeName is not { } node)
        {
            _queue.PutBack(pod.Uid, retry: false, time.GetUtcNow());
            _underWay.Add(RefuseAsync(pod, placement.Message, stopping));
            return;
        }

        JsonObject placed = pod.Object.ToNode();
        placed["spec"]!["nodeName"] = node;
        _cache.Assume(new PodInfo(KubeObject.From(placed)));
        _underWay.Add(BindAsync(pod, node, stopping));
    }

    private async Task BindAsync(PodInfo pod, string node, CancellationToken stopping)
    {
        try
        {
            JsonObject binding = new()
            {
                ["apiVersion"] = "v1", ["kind"] = "Binding",
                ["metadata"] = new JsonObject { ["name"] = pod.Key.Name, ["namespace"] = pod.Key.Namespace, ["uid"] = pod.Uid },
                ["target"] = new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Node", ["name"] = node },
            };
            await client.CreateAsync(Resources.Pods, pod.Key, binding, RequestOptions.For("binding"), stopping);
            Log.Bound(log, pod.Key.ToString(), node);
            events.Normal(pod.Object, "Scheduled", $"Successfully assigned {pod.Key} to {node}");
            Post(() => _queue.Remove(pod.Uid));
        }
        catch (Exception e) when (e is StatusException or HttpRequestException or TimeoutException or IOException)
        {
            Log.BindingFailed(log, pod.Key.ToString(), node, e.Message);
            bool gone = e is StatusException { IsNotFound: true } or StatusException { IsConflict: true };
            if (!gone)
            {
                events.Warning(pod.Object, "FailedScheduling", "binding rejected: " + e.Message);
            }

            Post(() =>
            {
                _cache.Forget(pod.Uid);
                if (gone)
                {
                    _queue.Remove(pod.Uid); // bound by another or deleted: the watch says what is true
                }
                else
                {
                    _queue.PutBack(pod.Uid, retry: true, time.GetUtcNow());
                }
            });
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // The next leader schedules it.
        }
        finally
        {
            _bindings.Release();
        }
    }

    private async Task RefuseAsync(PodInfo pod, string message, CancellationToken stopping)
    {
        try
        {
            Log.NoNode(log, pod.Key.ToString(), message);
            events.Warning(pod.Object, "FailedScheduling", message);
            if (HasCondition(pod.Object, message))
            {
                return;
            }

            JsonObject patch = new()
            {
                ["status"] = new JsonObject
                {
                    ["conditions"] = new JsonArray(new JsonObject
                    {
                        ["type"] = "PodScheduled", ["status"] = "False", ["reason"] = "Unschedulable", ["message"] = message,
                        ["lastProbeTime"] = null, ["lastTransitionTime"] = KubeTime.Format(time.GetUtcNow()),
                    }),
                },
            };
            await client.PatchAsync(Resources.Pods, pod.Key, PatchKind.Strategic, patch, RequestOptions.For("status"), stopping);
        }
        catch (Exception e) when (e is StatusException or HttpRequestException or TimeoutException or IOException)
        {
            Log.StatusFailed(log, pod.Key.ToString(), e.Message); // tried again with the pod
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // Stopping.
        }
        finally
        {
            _bindings.Release();
        }
    }

    private static bool HasCondition(KubeObject pod, string message) => pod.Status.Items("conditions")
        .Any(c => c.Text("type") == "PodScheduled" && c.Text("status") == "False" && c.Text("message") == message);
}
