using Kapell.Base;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Client.Informers;
using Kapell.Client.Queues;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Controllers;

/// <summary>What every controller is given: clients, shared caches, time, and the options of the process.</summary>
internal sealed class ControllerContext(
    ControllerOptions options, ControllerClients clients, InformerFactory informers, TimeProvider time, Prng random, ILoggerFactory logs)
{
    private readonly List<EventRecorder> _recorders = [];

    public ControllerOptions Options { get; } = options;

    public InformerFactory Informers { get; } = informers;

    public TimeProvider Time { get; } = time;

    public ILoggerFactory Logs { get; } = logs;

    public IReadOnlyList<EventRecorder> Recorders => _recorders;

    /// <summary>The client under the controller's own name.</summary>
    public KubeClient ClientFor(string name) => clients.For(name);

    /// <summary>The client with the process's own credentials, for caches that are shared.</summary>
    public KubeClient RootClientFor(string name) => clients.Root(name);

    public Prng RandomFor() => random.Split();

    public WorkQueue<ObjectKey> Queue() => new(Time);

    public WorkQueue<string> UidQueue() => new(Time);

    public EventRecorder RecorderFor(string component, KubeClient client)
    {
        EventRecorder recorder = new(client, component, "", Time, Logs.CreateLogger("Kapell.Controllers.Events"));
        _recorders.Add(recorder);
        return recorder;
    }

    public ILogger LogFor(string name) => Logs.CreateLogger("Kapell.Controllers." + name);
}

/// <summary>One controller: all it needs is wired when it is made; it works when it is run.</summary>
internal interface IController
{
    Task RunAsync(CancellationToken cancellation);
}

/// <summary>The usual controller: one reconciler, its queue, and the caches that must be full before it may look at them.</summary>
internal sealed class QueueController<TKey>(
    IReconciler<TKey> reconciler, WorkQueue<TKey> queue, int workers, IReadOnlyList<Informer> caches, ILogger log) : IController
    where TKey : notnull
{
    public async Task RunAsync(CancellationToken cancellation)
    {
        foreach (Informer cache in caches)
        {
            await cache.WaitForSyncAsync(cancellation);
        }

        await new ReconcilerHost<TKey>(reconciler, queue, log).RunAsync(workers, cancellation);
    }
}
