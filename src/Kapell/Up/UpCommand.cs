using System.Runtime.InteropServices;
using Kapell.Cli.Images;
using Kapell.Cli.Node;

namespace Kapell.Cli.Up;

/// <summary><c>kapell up</c>: in the foreground, or by starting itself in the background and watching until it is ready.</summary>
internal static class UpCommand
{
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TimeProvider time, TextWriter output)
    {
        UpOptions? options = UpOptions.Parse(args, output);
        if (options is null)
        {
            return 0;
        }

        if (!Environment.IsPrivilegedProcess)
        {
            throw new UpException("kapell up runs containers and needs root for that", "run: sudo ./kapell up " + string.Join(' ', args));
        }

        if (options.Detach)
        {
            return await Detached.RunAsync(options, args, time, output);
        }

        using CancellationTokenSource stopping = new();
        int asked = 0;
        void Stop(PosixSignalContext context)
        {
            // The first signal stops cleanly; the second one is left to the runtime, which ends the process.
            if (Interlocked.Increment(ref asked) == 1)
            {
                context.Cancel = true;
                stopping.Cancel();
            }
        }

        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        await using ClusterHost host = new(options, time, output);
        try
        {
            await host.StartAsync(stopping.Token);
            await host.WaitAsync(stopping.Token);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // Asked to stop: the host's disposal does it, in order.
        }

        output.WriteLine("stopping; containers go on and are taken over by the next kapell up (kapell down stops them too)");
        return 0;
    }
}
