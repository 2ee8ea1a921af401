using System.Text.Json;
using Kapell.Base;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Client.Queues;

/// <summary>What a reconciler asks for after a success.</summary>
public readonly record struct ReconcileResult(TimeSpan? RequeueAfter)
{
    public static readonly ReconcileResult Done = new(null);

    public static ReconcileResult After(TimeSpan wait) => new(wait);
}

/// <summary>
/// Makes the world match what one key asks for. Gets only the key: what happened must not matter, only what is (level-triggered).
/// Called for one key by one worker at a time. Throwing means: try again later, with growing waits.
/// </summary>
public interface IReconciler<TKey>
    where TKey : notnull
{
    string Name { get; }

    Task<ReconcileResult> ReconcileAsync(TKey key, CancellationToken cancellation);
}

/// <summary>Feeds one reconciler from one queue with N workers.</summary>
public sealed class ReconcilerHost<TKey>(IReconciler<TKey> reconciler, WorkQueue<TKey> queue, ILogger log)
    where TKey : notnull
{
    /// <summary>Runs until cancelled; work in hand is cancelled too.</summary>
    public async Task RunAsync(int workers, CancellationToken cancellation)
    {
        Task[] all = new Task[workers];
        for (int i = 0; i < workers; i++)
        {
            all[i] = WorkAsync(cancellation);
        }

        await Task.WhenAll(all);
    }

    private async Task WorkAsync(CancellationToken cancellation)
    {
        await Task.Yield();
        while (!cancellation.IsCancellationRequested)
        {
            bool ok;
            TKey key;
            try
            {
                (ok, key) = await queue.GetAsync(cancellation);
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
                return;
            }

            if (!ok)
            {
                return;
            }

            await OneAsync(key, cancellation);
        }
    }

    private async Task OneAsync(TKey key, CancellationToken cancellation)
    {
        try
        {
            ReconcileResult result = await reconciler.ReconcileAsync(key, cancellation);
            queue.Forget(key);
            if (result.RequeueAfter is { } wait)
            {
                queue.AddAfter(key, wait);
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // Stopping: the next leader starts from what is there.
        }
        catch (StatusException e) when (e.IsConflict)
        {
            Log.ReconcileConflict(log, reconciler.Name, key.ToString() ?? "");
            queue.AddRateLimited(key);
        }
        catch (Exception e) when (e is StatusException or HttpRequestException or IOException or TimeoutException or JsonException)
        {
            Log.ReconcileFailed(log, reconciler.Name, key.ToString() ?? "", queue.Failures(key) + 1, e.Message);
            queue.AddRateLimited(key);
        }
        catch (Exception e) when (e is not InvariantBrokenException)
        {
            Log.ReconcileBroke(log, e, reconciler.Name, key.ToString() ?? "");
            queue.AddRateLimited(key);
        }
        finally
        {
            queue.Done(key);
        }
    }
}
