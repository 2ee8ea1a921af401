using System.Text.Json;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>The row of a pod: one word for where it stands, gathered from phase, containers and conditions (printers.go printPod).</summary>
internal static class PodPrinter
{
    public static IReadOnlyList<PrinterColumn> Columns { get; } =
    [
        Resources.Columns.Name,
        Resources.Columns.Text("Ready", "The aggregate readiness state of this pod for accepting traffic."),
        Resources.Columns.Text("Status", "The aggregate status of the containers in this pod."),
        Resources.Columns.Text("Restarts", "The number of times the containers in this pod have been restarted and when the last container in this "
            + "pod has restarted."),
        Resources.Columns.Age,
        Resources.Columns.Text("IP", "IP address allocated to the pod.", 1),
        Resources.Columns.Text("Node", "Name of the node the pod runs on.", 1),
        Resources.Columns.Text("Nominated Node", "Node where the pod may go once the pods it preempts have left.", 1),
        Resources.Columns.Text("Readiness Gates", "Conditions besides container readiness that the pod waits for.", 1),
    ];

    public static object?[] Row(JsonElement pod, DateTimeOffset now)
    {
        JsonElement spec = pod.Get("spec");
        JsonElement status = pod.Get("status");
        Tally tally = Tally.Of(pod);
        string restarts = tally.Restarts.ToString();
        if (tally.Restarts != 0 && tally.LastRestart is { } last)
        {
            restarts += $" ({HumanDuration.Format(now - last)} ago)";
        }

        string ip = status.Items("podIPs").Select(i => i.Text("ip")).FirstOrDefault() ?? status.Text("podIP");
        return
        [
            Resources.Columns.NameOf(pod),
            $"{tally.Ready}/{tally.Total}",
            tally.Reason,
            restarts,
            HumanDuration.Age(pod, now),
            Resources.Columns.OrNone(ip),
            Resources.Columns.OrNone(spec.Text("nodeName")),
            Resources.Columns.OrNone(status.Text("nominatedNodeName")),
            ReadinessGates(spec, status),
        ];
    }

    private static string ReadinessGates(JsonElement spec, JsonElement status)
    {
        JsonElement[] gates = [.. spec.Items("readinessGates")];
        if (gates.Length == 0)
        {
            return Resources.Columns.None;
        }

        int met = gates.Count(g => status.Items("conditions").FirstOrDefault(c => c.Text("type") == g.Text("conditionType")).Text("status") == "True");
        return $"{met}/{gates.Length}";
    }

    private sealed class Tally
    {
        public string Reason { get; private set; } = "";

        public long Restarts { get; private set; }

        public int Ready { get; private set; }

        public int Total { get; private set; }

        public DateTimeOffset? LastRestart { get; private set; }

        public static Tally Of(JsonElement pod)
        {
            JsonElement status = pod.Get("status");
            string said = status.Text("reason");
            Tally t = new()
            {
                Total = pod.Get("spec").Items("containers").Count(),
                Reason = said.Length > 0 ? said : status.Text("phase"),
            };
            if (status.Items("conditions").Any(c => c.Text("type") == "PodScheduled" && c.Text("reason") == "SchedulingGated"))
            {
                t.Reason = "SchedulingGated";
            }

            HashSet<string> sidecars = new(StringComparer.Ordinal);
            foreach (JsonElement c in pod.Get("spec").Items("initContainers").Where(c => c.Text("restartPolicy") == "Always"))
            {
                sidecars.Add(c.Text("name"));
                t.Total++;
            }

            if (!t.CountInitContainers(pod, sidecars) || IsInitialized(status))
            {
                t.CountContainers(status, sidecars);
            }

            if (pod.Get("metadata").Has("deletionTimestamp") && said == "NodeLost")
            {
                t.Reason = "Unknown";
            }
            else if (pod.Get("metadata").Has("deletionTimestamp") && status.Text("phase") is not ("Succeeded" or "Failed"))
            {
                t.Reason = "Terminating";
            }

            return t;
        }

        /// <summary>True while an init container holds the pod back.</summary>
        private bool CountInitContainers(JsonElement pod, HashSet<string> sidecars)
        {
            int total = pod.Get("spec").Items("initContainers").Count();
            int index = 0;
            foreach (JsonElement c in pod.Get("status").Items("initContainerStatuses"))
            {
                Restarts += c.Long("restartCount");
                SeeTermination(c);
                JsonElement state = c.Get("state");
                JsonElement terminated = state.Get("terminated");
                bool ended = state.Has("terminated");
                bool sidecar = sidecars.Contains(c.Text("name"));
                if (ended && terminated.Long("exitCode") == 0)
                {
                    index++;
                    continue;
                }

                if (sidecar && c.Bool("started"))
                {
                    if (c.Bool("ready"))
                    {
                        Ready++;
                    }

                    index++;
                    continue;
                }

                string waiting = state.Get("waiting").Text("reason");
                Reason = ended ? "Init:" + EndReason(terminated)
                    : waiting.Length > 0 && waiting != "PodInitializing" ? "Init:" + waiting
                    : $"Init:{index}/{total}";
                return true;
            }

            return false;
        }

        private void CountContainers(JsonElement status, HashSet<string> sidecars)
        {
            // Restarts of containers that are done with initialising are not counted, those of sidecars are.
            Restarts = status.Items("initContainerStatuses").Where(c => sidecars.Contains(c.Text("name"))).Sum(c => c.Long("restartCount"));
            LastRestart = null;
            foreach (JsonElement c in status.Items("initContainerStatuses").Where(c => sidecars.Contains(c.Text("name"))))
            {
                SeeTermination(c);
            }

            bool running = false;
            foreach (JsonElement c in status.Items("containerStatuses").Reverse())
            {
                Restarts += c.Long("restartCount");
                SeeTermination(c);
                JsonElement state = c.Get("state");
                string waiting = state.Get("waiting").Text("reason");
                if (waiting.Length > 0)
                {
                    Reason = waiting;
                }
                else if (state.Has("terminated"))
                {
                    Reason = EndReason(state.Get("terminated"));
                }
                else if (c.Bool("ready") && state.Has("running"))
                {
                    running = true;
                    Ready++;
                }
            }

            // One container is done while others run: the pod as a whole is not Completed.
            if (Reason == "Completed" && running)
            {
                Reason = HasCondition(status, "Ready") ? "Running" : "NotReady";
            }
        }

        private void SeeTermination(JsonElement containerStatus)
        {
            if (HumanDuration.TryParse(containerStatus.Get("lastState", "terminated").Text("finishedAt"), out DateTimeOffset at)
                && (LastRestart is null || at > LastRestart))
            {
                LastRestart = at;
            }
        }

        private static string EndReason(JsonElement terminated) =>
            terminated.Text("reason") is { Length: > 0 } reason ? reason
            : terminated.Long("signal") != 0 ? $"Signal:{terminated.Long("signal")}"
            : $"ExitCode:{terminated.Long("exitCode")}";

        private static bool IsInitialized(JsonElement status) => HasCondition(status, "Initialized");

        private static bool HasCondition(JsonElement status, string type) =>
            status.Items("conditions").Any(c => c.Text("type") == type && c.Text("status") == "True");
    }
}
