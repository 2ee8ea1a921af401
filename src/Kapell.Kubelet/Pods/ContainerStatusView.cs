using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.Kubelet.Pods;

/// <summary>The three states a container's status can show.</summary>
internal enum ViewState
{
    Waiting,
    Running,
    Terminated,
}

/// <summary>One container's status: the document, and what the pod's phase and conditions ask of it.</summary>
internal sealed record ContainerView(
    ContainerSpec Spec, ViewState State, int ExitCode, bool EverRan, bool Ready, bool InitDone, JsonObject Json)
{
    /// <summary>Its last end, shown as state or as last state, was a failure.</summary>
    public bool FailedLast => State == ViewState.Terminated
        ? ExitCode != 0
        : Json["lastState"]?["terminated"]?["exitCode"] is { } code && (int)code != 0;
}

/// <summary>Makes a <see cref="ContainerView"/>. // Kubernetes: pkg/kubelet/kubelet_pods.go convertToAPIContainerStatuses</summary>
internal static class ContainerStatusView
{
    public static ContainerView Of(Pod pod, ContainerSpec spec, StatusInputs inputs, bool initialized)
    {
        ContainerInfo? info = inputs.Runtime.Latest(spec.Name);
        JsonElement before = Before(spec, inputs.Previous);
        bool everRan = info is { State: RunState.Exited } || before.Get("lastState", "terminated").ValueKind == JsonValueKind.Object;
        JsonObject state = [];
        JsonObject last = inputs.Runtime.Previous(spec.Name) is { } previous ? Terminated(previous, inputs.RuntimeName) : BeforeTerminated(before);
        ViewState shown;
        inputs.Errors.TryGetValue(spec.Name, out StartError? error);
        bool willRestart = !inputs.Terminated && info is { State: RunState.Exited } && PodPlanner.ShouldRestart(pod, spec, inputs.Runtime);
        if (info is { State: RunState.Running })
        {
            shown = ViewState.Running;
            state["running"] = new JsonObject { ["startedAt"] = PodStatusBuilder.Time(info.StartedAt) };
        }
        else if (info is { State: RunState.Exited } && !(willRestart && error is not null && (initialized || spec.Kind == ContainerKind.Init)))
        {
            shown = ViewState.Terminated;
            state["terminated"] = Terminated(info, inputs.RuntimeName)["terminated"]!.DeepClone();
        }
        else if (info is null && inputs.Terminated)
        {
            (shown, state) = Lost(before);
        }
        else
        {
            shown = ViewState.Waiting;
            state["waiting"] = Waiting(pod, spec, error, initialized);
            last = info is { State: RunState.Exited } ? Terminated(info, inputs.RuntimeName) : last;
        }

        return Make(spec, inputs, info, before, shown, state, last, everRan);
    }

    private static ContainerView Make(
        ContainerSpec spec, StatusInputs inputs, ContainerInfo? info, JsonElement before, ViewState shown, JsonObject state, JsonObject last, bool everRan)
    {
        ProbeVerdicts verdict = info is null ? ProbeVerdicts.None : inputs.Verdicts(info.Id);
        bool running = shown == ViewState.Running;
        bool started = running && (!spec.Json.Has("startupProbe") || verdict.Started == true);
        int exitCode = shown == ViewState.Terminated ? (int)state["terminated"]!["exitCode"]! : 0;
        bool initDone = spec.IsSidecar ? started : shown == ViewState.Terminated && exitCode == 0;
        bool ready = spec.Kind switch
        {
            ContainerKind.Init when !spec.IsSidecar => initDone,
            ContainerKind.Ephemeral => false,
            _ => started && (!spec.Json.Has("readinessProbe") || verdict.Ready == true),
        };
        JsonObject json = new() { ["name"] = spec.Name, ["state"] = state, ["lastState"] = last, ["ready"] = ready };
        json["restartCount"] = info?.RestartCount ?? (int)before.Long("restartCount");
        json["image"] = info?.Image is { Length: > 0 } image ? image : spec.Image;
        json["imageID"] = info?.ImageId ?? before.Text("imageID");
        string id = info is not null ? $"{inputs.RuntimeName}://{info.Id}" : before.Text("containerID");
        if (id.Length > 0)
        {
            json["containerID"] = id;
        }

        json["started"] = started;
        return new ContainerView(spec, shown, exitCode, everRan, ready, initDone, json);
    }

    private static JsonElement Before(ContainerSpec spec, JsonElement previous)
    {
        string list = spec.Kind switch
        {
            ContainerKind.Init => "initContainerStatuses",
            ContainerKind.Ephemeral => "ephemeralContainerStatuses",
            _ => "containerStatuses",
        };
        return previous.Items(list).FirstOrDefault(c => c.Text("name") == spec.Name);
    }

    private static JsonObject BeforeTerminated(JsonElement before) =>
        before.Get("lastState", "terminated") is { ValueKind: JsonValueKind.Object } t ? new JsonObject { ["terminated"] = JsonObject.Create(t) } : [];

    // The container is gone from the runtime: what we said of its end before stays; if it ran when last seen, its end is unknown.
    private static (ViewState, JsonObject) Lost(JsonElement before)
    {
        if (before.Get("state", "terminated") is { ValueKind: JsonValueKind.Object } end)
        {
            return (ViewState.Terminated, new JsonObject { ["terminated"] = JsonObject.Create(end) });
        }

        if (before.Get("state", "running").ValueKind == JsonValueKind.Object)
        {
            return (ViewState.Terminated, new JsonObject
            {
                ["terminated"] = new JsonObject
                {
                    ["exitCode"] = 137, ["reason"] = "ContainerStatusUnknown",
                    ["message"] = "The container could not be located when the pod was terminated", ["startedAt"] = null, ["finishedAt"] = null,
                },
            });
        }

        return (ViewState.Waiting, before.Get("state") is { ValueKind: JsonValueKind.Object } state && state.Has("waiting")
            ? JsonObject.Create(state)!
            : new JsonObject { ["waiting"] = new JsonObject { ["reason"] = "ContainerCreating" } });
    }

    private static JsonObject Waiting(Pod pod, ContainerSpec spec, StartError? error, bool initialized)
    {
        if (error is not null)
        {
            return error.Message.Length > 0
                ? new JsonObject { ["reason"] = error.Reason, ["message"] = error.Message }
                : new JsonObject { ["reason"] = error.Reason };
        }

        bool behindInit = pod.InitContainers.Count > 0 && (spec.Kind == ContainerKind.Init || !initialized);
        return new JsonObject { ["reason"] = behindInit ? "PodInitializing" : "ContainerCreating" };
    }

    private static JsonObject Terminated(ContainerInfo info, string runtimeName)
    {
        JsonObject end = new() { ["exitCode"] = info.ExitCode };
        end["reason"] = info.Reason.Length > 0 ? info.Reason : info.ExitCode == 0 ? "Completed" : "Error";
        if (info.Message.Length > 0)
        {
            end["message"] = info.Message;
        }

        end["startedAt"] = info.StartedAt > DateTimeOffset.UnixEpoch ? PodStatusBuilder.Time(info.StartedAt) : null;
        end["finishedAt"] = info.FinishedAt > DateTimeOffset.UnixEpoch ? PodStatusBuilder.Time(info.FinishedAt) : null;
        end["containerID"] = $"{runtimeName}://{info.Id}";
        return new JsonObject { ["terminated"] = end };
    }
}
