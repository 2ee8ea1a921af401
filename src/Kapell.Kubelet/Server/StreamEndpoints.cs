using Grpc.Core;
using Kapell.Kubelet.Cri;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Pods;
using Kapell.Kubelet.Runtime;
using Microsoft.AspNetCore.Http;

namespace Kapell.Kubelet.Server;

/// <summary>exec, attach and port-forward: asks the runtime for a streaming address and joins the client to it.</summary>
internal sealed class StreamEndpoints(CriClient cri, RuntimeReader reader)
{
    private const int CommandWordsMax = 10_000;

    public async Task ServeAsync(HttpContext context, string kind, Pod pod, string container)
    {
        CancellationToken cancellation = context.RequestAborted;
        RuntimePod runtime = await reader.PodAsync(pod.Uid, cancellation);
        if (!context.Request.Headers.ContainsKey("Upgrade"))
        {
            await KubeletServer.TextAsync(context, 400, "Upgrade request required");
            return;
        }

        if (kind == "portForward")
        {
            if (runtime.ReadySandbox is not { } sandbox)
            {
                await KubeletServer.TextAsync(context, 500, $"pod not found (\"{pod.Name}_{pod.Namespace}\")");
                return;
            }

            PortForwardResponse forward = await cri.Runtime.PortForwardAsync(
                new PortForwardRequest { PodSandboxId = sandbox.Id }, cancellationToken: cancellation);
            await StreamRelay.PortForwardAsync(context, new Uri(forward.Url), cancellation);
            return;
        }

        if (runtime.Latest(container) is not { State: RunState.Running } info)
        {
            await KubeletServer.TextAsync(context, 500, $"container not found (\"{container}\")");
            return;
        }

        StreamSelection streams = StreamSelection.Read(context.Request.Query);
        if (!streams.Stdin && !streams.Stdout && !streams.Stderr)
        {
            await KubeletServer.TextAsync(context, 400, "you must specify at least 1 of stdin, stdout, stderr");
            return;
        }

        await StreamRelay.RemoteCommandAsync(context, await UrlAsync(context, kind, info.Id, pod.Find(container), streams, cancellation), streams, cancellation);
    }

    private async Task<Uri> UrlAsync(
        HttpContext context, string kind, string id, ContainerSpec? spec, StreamSelection streams, CancellationToken cancellation)
    {
        if (kind == "attach")
        {
            // The runtime must be told what the container was made with, not what the client wishes.
            bool tty = spec?.Json.TryGetProperty("tty", out System.Text.Json.JsonElement t) == true && t.ValueKind == System.Text.Json.JsonValueKind.True;
            AttachRequest attach = new() { ContainerId = id, Stdin = streams.Stdin, Stdout = streams.Stdout, Stderr = streams.Stderr && !tty, Tty = tty };
            return new Uri((await cri.Runtime.AttachAsync(attach, cancellationToken: cancellation)).Url);
        }

        ExecRequest exec = new() { ContainerId = id, Stdin = streams.Stdin, Stdout = streams.Stdout, Stderr = streams.Stderr && !streams.Tty, Tty = streams.Tty };
        exec.Cmd.AddRange(context.Request.Query["command"].Take(CommandWordsMax).Select(c => c ?? ""));
        return new Uri((await cri.Runtime.ExecAsync(exec, cancellationToken: cancellation)).Url);
    }
}

/// <summary>Which streams a client wants; both the API server's and the kubelet's own names of the parameters are understood.</summary>
internal sealed record StreamSelection(bool Stdin, bool Stdout, bool Stderr, bool Tty)
{
    public static StreamSelection Read(IQueryCollection query)
    {
        bool Is(string name, string shortName) => query[name].ToString() is "true" or "1" || query[shortName].ToString() is "true" or "1";
        return new StreamSelection(Is("stdin", "input"), Is("stdout", "output"), Is("stderr", "error"), Is("tty", "tty"));
    }
}
