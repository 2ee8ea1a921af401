namespace Kapell.Bench;

/// <summary>One kind of operation against one target. <see cref="RunAsync"/> is called by many clients at once.</summary>
internal interface IScenario : IAsyncDisposable
{
    /// <summary>Puts in place what the operations need. Called once.</summary>
    Task PrepareAsync(CancellationToken cancellation);

    /// <summary>One operation.</summary>
    /// <param name="client">Which of the clients: 0 to --clients - 1, each one operation at a time.</param>
    /// <param name="number">Counts the operations of all clients.</param>
    Task RunAsync(int client, long number, CancellationToken cancellation);

    /// <summary>Where the scenario records the delivery of events; null if it has none.</summary>
    LatencyRecorder? Deliveries { get; }
}
