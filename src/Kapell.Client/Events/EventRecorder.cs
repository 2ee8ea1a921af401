using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Client.Events;

/// <summary>
/// Writes core/v1 Events about what a component did (client-go: tools/record). <see cref="Record(KubeObject, string, string, string)"/>
/// never waits and never throws: events are a courtesy, and when 1000 are waiting new ones are dropped.
/// </summary>
public sealed class EventRecorder(KubeClient client, string component, string host, TimeProvider time, ILogger log)
{
    private const int WaitingMax = 1000;
    private const int AttemptsMax = 12;
    private const int MessageCharsMax = 1024;
    private static readonly TimeSpan RetryPause = TimeSpan.FromSeconds(10);
    private readonly EventCorrelator _correlator = new(); // the loop's own
    private readonly Channel<EventNote> _notes = Channel.CreateBounded<EventNote>(
        new BoundedChannelOptions(WaitingMax) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    public void Normal(KubeObject about, string reason, string message) => Record(about, "Normal", reason, message);

    public void Warning(KubeObject about, string reason, string message) => Record(about, "Warning", reason, message);

    public void Record(KubeObject about, string type, string reason, string message) => Record(ObjectReference.To(about), type, reason, message);

    public void Record(ObjectReference about, string type, string reason, string message) =>
        _notes.Writer.TryWrite(new EventNote(about, type, reason, message.Length > MessageCharsMax ? message[..MessageCharsMax] : message, time.GetUtcNow()));

    /// <summary>Sends what is recorded until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        try
        {
            await foreach (EventNote note in _notes.Reader.ReadAllAsync(cancellation))
            {
                if (_correlator.Plan(note) is { } plan)
                {
                    await SendAsync(plan, cancellation);
                }
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
        }
    }

    private async Task SendAsync(EventPlan plan, CancellationToken cancellation)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                await SendOnceAsync(plan, cancellation);
                return;
            }
            catch (StatusException e) when (e.Code < 500 && e.Code != 429)
            {
                // Refused (namespace gone, not allowed): asking again will not help.
                _correlator.Forget(plan.Note);
                Log.EventFailed(log, e.Message);
                return;
            }
            catch (Exception e) when (e is StatusException or HttpRequestException or IOException or TimeoutException or JsonException)
            {
                if (attempt >= AttemptsMax)
                {
                    Log.EventFailed(log, e.Message);
                    return;
                }

                await Task.Delay(RetryPause, time, cancellation);
            }
        }
    }

    private async Task SendOnceAsync(EventPlan plan, CancellationToken cancellation)
    {
        // Events about cluster-scoped objects live in "default" (client-go: recorder.makeEvent).
        string ns = plan.Note.About.Namespace.Length > 0 ? plan.Note.About.Namespace : "default";
        if (!plan.IsNew)
        {
            JsonObject patch = new() { ["count"] = plan.Count, ["lastTimestamp"] = Rfc3339(plan.Note.At), ["message"] = plan.Note.Message };
            try
            {
                await client.PatchAsync(Resources.Events, new ObjectKey(ns, plan.Name), PatchKind.Strategic, patch, cancellation);
                return;
            }
            catch (StatusException e) when (e.IsNotFound)
            {
                // It has run out: write it anew below.
            }
        }

        await client.CreateAsync(Resources.Events, ns, Event(plan, ns), cancellation);
    }

    private JsonObject Event(EventPlan plan, string ns) => new()
    {
        ["kind"] = "Event",
        ["apiVersion"] = "v1",
        ["metadata"] = new JsonObject { ["name"] = plan.Name, ["namespace"] = ns },
        ["involvedObject"] = plan.Note.About.ToJson(),
        ["reason"] = plan.Note.Reason,
        ["message"] = plan.Note.Message,
        ["source"] = host.Length > 0 ? new JsonObject { ["component"] = component, ["host"] = host } : new JsonObject { ["component"] = component },
        ["firstTimestamp"] = Rfc3339(plan.First),
        ["lastTimestamp"] = Rfc3339(plan.Note.At),
        ["count"] = plan.Count,
        ["type"] = plan.Note.Type,
        ["eventTime"] = null,
        ["reportingComponent"] = component,
        ["reportingInstance"] = host,
    };

    private static string Rfc3339(DateTimeOffset t) => t.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'");
}
