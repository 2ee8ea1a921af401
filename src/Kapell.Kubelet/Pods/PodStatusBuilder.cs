using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.Kubelet.Pods;

/// <summary>What a status is made of besides the pod itself.</summary>
internal sealed record StatusInputs
{
    public required RuntimePod Runtime { get; init; }

    public required Func<string, ProbeVerdicts> Verdicts { get; init; }

    /// <summary>Last start errors by container name.</summary>
    public IReadOnlyDictionary<string, StartError> Errors { get; init; } = new Dictionary<string, StartError>();

    public IReadOnlyList<string> HostIps { get; init; } = [];

    public required DateTimeOffset Now { get; init; }

    /// <summary>When the kubelet first saw the pod.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>All containers are down for good: the phase must be final.</summary>
    public bool Terminated { get; init; }

    /// <summary>A phase that the kubelet imposes (deadline, eviction, admission), with reason and message.</summary>
    public (string Phase, string Reason, string Message)? Imposed { get; init; }

    public string RuntimeName { get; init; } = "containerd";

    /// <summary>The newest status we know of: what the server holds, or what we sent last.</summary>
    public JsonElement Previous { get; init; }
}

/// <summary>
/// Writes a pod's status from the runtime's state. A function of its arguments.
/// // Kubernetes: pkg/kubelet/kubelet_pods.go generateAPIPodStatus, getPhase; pkg/kubelet/status/generate.go
/// </summary>
internal static class PodStatusBuilder
{
    private const string TimeFormat = "yyyy-MM-dd'T'HH:mm:ss'Z'";

    public static string Time(DateTimeOffset at) => at.UtcDateTime.ToString(TimeFormat);

    public static JsonObject Build(Pod pod, StatusInputs inputs)
    {
        bool initialized = PodPlanner.IsInitialized(pod, inputs.Runtime, inputs.Verdicts);
        List<ContainerView> init = Views(pod, pod.InitContainers, inputs, initialized);
        List<ContainerView> main = Views(pod, pod.Containers, inputs, initialized);
        List<ContainerView> ephemeral = Views(pod, pod.EphemeralContainers.Where(c => inputs.Runtime.Latest(c.Name) is not null || inputs.Errors.ContainsKey(c.Name)), inputs, true);
        string phase = Phase(pod, init, main, initialized, inputs.Terminated);
        // A final phase never changes back. // Kubernetes: status manager and generateAPIPodStatus
        phase = inputs.Previous.Text("phase") is ("Failed" or "Succeeded") and var final ? final : phase;
        JsonObject status = new() { ["phase"] = inputs.Imposed?.Phase ?? phase };
        phase = (string)status["phase"]!;
        if (inputs.Imposed is (_, string reason, string message))
        {
            status["reason"] = reason;
            status["message"] = message;
        }

        status["conditions"] = Conditions(pod, inputs, phase, init, main, initialized);
        AddAddresses(pod, inputs, status);
        status["startTime"] = inputs.Previous.Text("startTime") is { Length: > 0 } start ? start : Time(inputs.StartedAt);
        AddList(status, "initContainerStatuses", init);
        AddList(status, "containerStatuses", main);
        AddList(status, "ephemeralContainerStatuses", ephemeral);
        status["qosClass"] = pod.Qos.ToString();
        return status;
    }

    private static List<ContainerView> Views(Pod pod, IEnumerable<ContainerSpec> specs, StatusInputs inputs, bool initialized) =>
        [.. specs.Select(s => ContainerStatusView.Of(pod, s, inputs, initialized))];

    private static void AddList(JsonObject status, string field, List<ContainerView> views)
    {
        if (views.Count > 0)
        {
            JsonArray list = [];
            foreach (ContainerView view in views)
            {
                list.Add((JsonNode)view.Json);
            }

            status[field] = list;
        }
    }

    private static void AddAddresses(Pod pod, StatusInputs inputs, JsonObject status)
    {
        if (inputs.HostIps.Count > 0)
        {
            status["hostIP"] = inputs.HostIps[0];
            status["hostIPs"] = IpList("ip", inputs.HostIps);
        }

        IReadOnlyList<string> ips = pod.HostNetwork
            ? inputs.Runtime.Sandboxes.Count > 0 ? inputs.HostIps : []
            : inputs.Runtime.ReadySandbox?.Ips ?? [];
        if (ips.Count == 0 && inputs.Previous.Text("podIP").Length > 0 && (inputs.Terminated || pod.IsDeleting))
        {
            // A pod that ends keeps the address it had, as long as it is shown.
            ips = [.. inputs.Previous.Items("podIPs").Select(i => i.Text("ip"))];
        }

        if (ips.Count > 0)
        {
            status["podIP"] = ips[0];
            status["podIPs"] = IpList("ip", ips);
        }
    }

    private static JsonArray IpList(string field, IReadOnlyList<string> ips)
    {
        JsonArray list = [];
        foreach (string ip in ips)
        {
            list.Add((JsonNode)new JsonObject { [field] = ip });
        }

        return list;
    }

    private static string Phase(Pod pod, List<ContainerView> init, List<ContainerView> main, bool initialized, bool terminated)
    {
        ContainerView[] sidecars = [.. init.Where(v => v.Spec.IsSidecar)];
        ContainerView[] ordinary = [.. init.Where(v => !v.Spec.IsSidecar)];
        bool initPending = Array.Exists(ordinary, v => v.State == ViewState.Running || (v.State == ViewState.Waiting && !v.EverRan));
        bool initFailed = Array.Exists(ordinary, v => v.State != ViewState.Running && v.FailedLast);
        if (initFailed && pod.RestartPolicy == "Never")
        {
            return "Failed";
        }

        int stopped = main.Count(v => v.State == ViewState.Terminated || (v.State == ViewState.Waiting && v.EverRan));
        int succeeded = main.Count(v => v.State == ViewState.Terminated && v.ExitCode == 0);
        int waiting = main.Concat(sidecars).Count(v => v.State == ViewState.Waiting && !v.EverRan);
        int running = main.Concat(sidecars).Count(v => v.State == ViewState.Running);
        if (terminated)
        {
            return stopped > 0 && stopped == succeeded && stopped == main.Count ? "Succeeded" : "Failed";
        }

        // A sidecar that restarts later on does not make a pod Pending again.
        bool sidecarPending = !initialized && Array.Exists(sidecars, v => v.State == ViewState.Running ? !v.InitDone : v.State == ViewState.Waiting && !v.EverRan);
        return initPending || sidecarPending || waiting > 0 || (running == 0 && stopped == 0) ? "Pending"
            : running > 0 || pod.RestartPolicy == "Always" ? "Running"
            : stopped == succeeded ? "Succeeded"
            : pod.RestartPolicy == "Never" ? "Failed"
            : "Running";
    }

    private static JsonArray Conditions(
        Pod pod, StatusInputs inputs, string phase, List<ContainerView> init, List<ContainerView> main, bool initialized)
    {
        SandboxInfo? sandbox = inputs.Runtime.ReadySandbox;
        bool sandboxReady = sandbox is not null && (pod.HostNetwork || sandbox.Ips.Count > 0);
        JsonArray list = [];
        void Add(string type, bool status, string reason = "", string message = "") =>
            list.Add((JsonNode)Condition(inputs, type, status, reason, message));

        Add("PodReadyToStartContainers", sandboxReady);
        string[] notInitialized = [.. init.Where(v => !v.InitDone).Select(v => v.Spec.Name)];
        if (phase == "Succeeded")
        {
            Add("Initialized", true, "PodCompleted");
        }
        else if (initialized || notInitialized.Length == 0)
        {
            Add("Initialized", true);
        }
        else
        {
            Add("Initialized", false, "ContainersNotInitialized", $"containers with incomplete status: [{string.Join(' ', notInitialized)}]");
        }

        string[] unready = [.. init.Where(v => v.Spec.IsSidecar).Concat(main).Where(v => !v.Ready).Select(v => v.Spec.Name)];
        (bool ready, string reason, string message) = phase switch
        {
            "Succeeded" => (false, "PodCompleted", ""),
            "Failed" => (false, "PodFailed", ""),
            _ when unready.Length > 0 => (false, "ContainersNotReady", $"containers with unready status: [{string.Join(' ', unready)}]"),
            _ => (true, "", ""),
        };
        string[] gates = ready ? UnreadyGates(pod) : [];
        if (gates.Length > 0)
        {
            Add("Ready", false, "ReadinessGatesNotReady", string.Join(", ", gates));
        }
        else
        {
            Add("Ready", ready, reason, message);
        }

        Add("ContainersReady", ready, reason, message);
        Add("PodScheduled", true);
        return list;
    }

    private static string[] UnreadyGates(Pod pod)
    {
        List<string> words = [];
        foreach (JsonElement gate in pod.Spec.Items("readinessGates"))
        {
            string type = gate.Text("conditionType");
            JsonElement condition = pod.Object.Status.Items("conditions").FirstOrDefault(c => c.Text("type") == type);
            if (condition.ValueKind != JsonValueKind.Object)
            {
                words.Add($"corresponding condition of pod readiness gate \"{type}\" does not exist.");
            }
            else if (condition.Text("status") != "True")
            {
                words.Add($"the status of pod readiness gate \"{type}\" is not \"True\", but {condition.Text("status")}");
            }
        }

        return [.. words];
    }

    private static JsonObject Condition(StatusInputs inputs, string type, bool status, string reason, string message)
    {
        string text = status ? "True" : "False";
        JsonElement before = inputs.Previous.Items("conditions").FirstOrDefault(c => c.Text("type") == type);
        bool same = before.Text("status") == text && before.Text("lastTransitionTime").Length > 0;
        JsonObject condition = new()
        {
            ["type"] = type, ["status"] = text, ["lastProbeTime"] = null,
            ["lastTransitionTime"] = same ? before.Text("lastTransitionTime") : Time(inputs.Now),
        };
        if (reason.Length > 0)
        {
            condition["reason"] = reason;
        }

        if (message.Length > 0)
        {
            condition["message"] = message;
        }

        return condition;
    }
}
