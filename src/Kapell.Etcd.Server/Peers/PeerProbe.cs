using System.Net;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Peers;

/// <summary>
/// Measures the way to another member and back: a small question now and then, beside the streams, on a connection that the client keeps.
/// A member that does not answer is none of its business. etcd: rafthttp/probing_status.go
/// </summary>
internal sealed class PeerProbe : IAsyncDisposable
{
    private static readonly TimeSpan Pace = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _running;

    public PeerProbe(PeerContext context, MemberId to, Func<IReadOnlyList<string>> urls, PeerCounts counts) =>
        _running = Task.Run(() => RunAsync(context, to, urls, counts));

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _running;
        _stopping.Dispose();
    }

    private async Task RunAsync(PeerContext context, MemberId to, Func<IReadOnlyList<string>> urls, PeerCounts counts)
    {
        try
        {
            // The first question opens the connection: its time says nothing.
            bool isOpen = false;
            while (true)
            {
                TimeSpan? took = urls() is [var url, ..] ? await AskAsync(context, to, url) : null;
                if (took is { } time && isOpen)
                {
                    counts.RoundTrips.Observe(time.TotalSeconds);
                }

                isOpen = took is not null;
                await Task.Delay(Pace, context.Time, _stopping.Token);
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The end of this member, or of the other one.
        }
    }

    private async Task<TimeSpan?> AskAsync(PeerContext context, MemberId to, string url)
    {
        using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        late.CancelAfter(Patience);
        try
        {
            using HttpRequestMessage request = context.Request(HttpMethod.Get, url, PeerProtocol.ProbePath, to);
            long began = context.Time.GetTimestamp();
            using HttpResponseMessage response = await context.Client.SendAsync(request, late.Token);
            return response.StatusCode == HttpStatusCode.NoContent ? context.Time.GetElapsedTime(began) : null;
        }
        catch (Exception e) when (e is HttpRequestException or IOException || (e is OperationCanceledException && !_stopping.IsCancellationRequested))
        {
            // The streams know whether it is there, and say so.
            return null;
        }
    }
}
