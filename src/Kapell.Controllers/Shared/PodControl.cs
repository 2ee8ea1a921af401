using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Events;
using Kapell.Machinery;

namespace Kapell.Controllers.Shared;

/// <summary>Creates, deletes, adopts and releases pods for a controller, and tells of it in events (controller_utils.go: RealPodControl).</summary>
internal sealed class PodControl(KubeClient client, EventRecorder events)
{
    /// <summary>A pod from a template, owned by the controller's object.</summary>
    public static JsonObject FromTemplate(JsonElement template, KubeObject owner)
    {
        JsonElement meta = template.Get("metadata");
        JsonObject metadata = new() { ["generateName"] = owner.Name + "-" };
        foreach (string field in (ReadOnlySpan<string>)["labels", "annotations", "finalizers"])
        {
            if (meta.Has(field))
            {
                metadata[field] = meta.Get(field).Node();
            }
        }

        metadata["ownerReferences"] = new JsonArray(Owners.ControllerReference(owner));
        return new JsonObject
        {
            ["apiVersion"] = "v1", ["kind"] = "Pod", ["metadata"] = metadata, ["spec"] = template.Get("spec").Object(),
        };
    }

    public async Task<KubeObject> CreateAsync(KubeObject owner, JsonObject pod, CancellationToken cancellation)
    {
        try
        {
            KubeObject created = await client.CreateAsync(Resources.Pods, owner.Namespace, pod, cancellation);
            events.Normal(owner, "SuccessfulCreate", $"Created pod: {created.Name}");
            return created;
        }
        catch (StatusException e)
        {
            if (!IsNamespaceTerminating(e))
            {
                events.Warning(owner, "FailedCreate", $"Error creating: {e.Message}");
            }

            throw;
        }
    }

    /// <summary>True when this call deleted it; a pod already gone is no error.</summary>
    public async Task<bool> DeleteAsync(KubeObject owner, KubeObject pod, CancellationToken cancellation)
    {
        try
        {
            await client.DeleteAsync(Resources.Pods, pod.Key, new DeleteOptions { PreconditionUid = pod.Uid }, cancellation);
            events.Normal(owner, "SuccessfulDelete", $"Deleted pod: {pod.Name}");
            return true;
        }
        catch (StatusException e) when (e.IsNotFound || e.IsConflict)
        {
            return false;
        }
        catch (StatusException e)
        {
            events.Warning(owner, "FailedDelete", $"Error deleting: {e.Message}");
            throw;
        }
    }

    public static bool IsNamespaceTerminating(StatusException e) =>
        e.Code == 403 && (e.Status.Causes.Any(c => c.Reason == "NamespaceTerminating")
            || e.Message.Contains("because it is being terminated", StringComparison.Ordinal));

    /// <summary>Calls in batches of 1, 2, 4, ... and stops after the first batch with a failure, which it returns (slowStartBatch).</summary>
    public static async Task<(int Succeeded, Exception? Failure)> SlowStartAsync(int count, Func<int, Task> call)
    {
        int done = 0;
        Exception? failure = null;
        for (int batch = 1; done < count && failure is null; batch *= 2)
        {
            int size = Math.Min(batch, count - done);
            int start = done;
            Task[] tasks = [.. Enumerable.Range(start, size).Select(call)];
            foreach (Task task in tasks)
            {
                try
                {
                    await task;
                    done++;
                }
                catch (Exception e) when (e is StatusException or HttpRequestException or TimeoutException or IOException)
                {
                    failure ??= e;
                }
            }
        }

        return (done, failure);
    }
}
