using System.Text;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;

namespace Kapell.Kube.Tests.Kubelet;

/// <summary>Pods and runtime states in a line each.</summary>
internal static class PodFixtures
{
    public static readonly DateTimeOffset Now = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);

    public static Pod Pod(string spec, string metadata = "", string status = "{}") => new(new KubeObject(Encoding.UTF8.GetBytes(
        $$"""{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default","uid":"u1"{{metadata}}},"spec":{{spec}},"status":{{status}}}""")));

    public static Pod Simple(string restartPolicy = "Always", string extra = "") =>
        Pod($$"""{"restartPolicy":"{{restartPolicy}}","containers":[{"name":"a","image":"busybox"{{extra}}}]}""");

    public static Pod WithInit(string restartPolicy = "Always") => Pod(
        $$"""{"restartPolicy":"{{restartPolicy}}","initContainers":[{"name":"i1","image":"busybox"},{"name":"i2","image":"busybox"}],"containers":[{"name":"a","image":"busybox"}]}""");

    public static RuntimePod Runtime(params ContainerInfo[] newestFirst) => new()
    {
        Sandboxes = [new SandboxInfo { Id = "s0", Ready = true, Ips = ["10.0.0.2"], CreatedAt = Now }], Containers = newestFirst,
    };

    public static ContainerInfo Running(string name, string image = "busybox") => new()
    {
        Id = name + "-id", Name = name, State = RunState.Running, Hash = new ContainerSpec(Json($$"""{"name":"{{name}}","image":"{{image}}"}"""), ContainerKind.Regular).Hash,
        StartedAt = Now, CreatedAt = Now,
    };

    public static ContainerInfo Exited(string name, int code, int restarts = 0) =>
        Running(name) with { Id = $"{name}-dead-{restarts}", State = RunState.Exited, ExitCode = code, RestartCount = restarts, FinishedAt = Now };

    public static ProbeVerdicts NoVerdict(string containerId) => ProbeVerdicts.None;

    private static System.Text.Json.JsonElement Json(string text) => System.Text.Json.JsonDocument.Parse(text).RootElement;
}
