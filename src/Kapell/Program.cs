using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Kapell.Base;
using Kapell.Cli.Images;
using Kapell.Cli.Node;
using Kapell.Cli.Up;
using Kapell.Client;
using Kapell.Etcd.Client.Members;
using Kapell.Etcd.Server;
using Kapell.Etcd.Server.Snapshots;
using Microsoft.Extensions.Logging;

namespace Kapell.Cli;

/// <summary>The one executable: finds the command by the first word, or by the name it was called through, and runs it.</summary>
internal static class Program
{
    private const int UsageError = 2;

    private static async Task<int> Main(string[] args)
    {
        string calledAs = Path.GetFileName(Environment.GetCommandLineArgs()[0]);
        if (Environment.GetEnvironmentVariable("KAPELL_CALLED_AS") is { Length: > 0 } name)
        {
            calledAs = Path.GetFileName(name);
        }

        bool byLink = calledAs == "etcdutl" || Components.Find(calledAs) is not null;
        string command = byLink ? calledAs : args.FirstOrDefault() ?? "help";
        string[] rest = byLink ? args : args[Math.Min(1, args.Length)..];
        try
        {
            return await DispatchAsync(command, rest);
        }
        catch (FlagException e)
        {
            await Console.Error.WriteLineAsync($"kapell {command}: {e.Message}\n  next: kapell {command} --help");
            return UsageError;
        }
        catch (Exception e) when (e is UpException or CommandFailedException)
        {
            await Console.Error.WriteLineAsync($"kapell {command}: {e.Message}");
            return 1;
        }
        catch (IOException e)
        {
            await Console.Error.WriteLineAsync($"kapell {command}: {e.Message}\n  next: is the disk full or the folder not yours?");
            return 1;
        }
    }

    private static async Task<int> DispatchAsync(string command, string[] args)
    {
        switch (command)
        {
            case "up":
                return await UpCommand.RunAsync(args, TimeProvider.System, Console.Out);
            case "down":
                return await DownCommand.RunAsync(args, TimeProvider.System, Console.Out);
            case "status":
                return await StatusCommand.RunAsync(args, Console.Out);
            case "images":
                return await ImagesCommand.RunAsync(args, Console.Out, CancellationToken.None);
            case "etcdutl":
                return await new EtcdutlCommand(Console.Out, Console.Error).RunAsync(args);
            case "member":
                return await RunMemberAsync(args);
            case "version" or "--version":
                Console.WriteLine("kapell " + BuildFacts.Version);
                return 0;
            case "help" or "--help" or "-h":
                Console.Write(HelpText.All);
                return 0;
        }

        if (Components.Find(command) is not null && command != "etcd" && args is ["--version"] or ["--version=true"])
        {
            // As every component of Kubernetes says it.
            Console.WriteLine("Kubernetes " + KubernetesVersion.Reported);
            return 0;
        }

        if (command == "etcd")
        {
            // Read by the runtime when the first socket is made: what a socket has to say is taken by the thread that hears it. A store whose
            // calls are all short is the better for it; the other components have handlers that would hold up every other socket.
            Environment.SetEnvironmentVariable("DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS", "1");
        }

        return Components.Find(command) is { } component
            ? await RunComponentAsync(component, args)
            : await RefuseAsync(command);
    }

    private static async Task<int> RunMemberAsync(string[] args)
    {
        using CancellationTokenSource stopping = new();
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
        {
            context.Cancel = true;
            stopping.Cancel();
        });
        try
        {
            return await MemberCommand.RunAsync(args, TimeProvider.System, Console.Out, stopping.Token);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            await Console.Error.WriteLineAsync("kapell member: interrupted; the same command takes it up again");
            return 1;
        }
    }

    private static async Task<int> RunComponentAsync(ComponentMain component, string[] args)
    {
        using CancellationTokenSource stopping = new();
        void Stop(PosixSignalContext context)
        {
            // Whoever asks a second time does not want to wait for calls to end.
            context.Cancel = !stopping.IsCancellationRequested;
            stopping.Cancel();
        }

        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        ulong seed = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8));
        if (component == Components.Etcd)
        {
            return await EtcdCommand.RunAloneAsync(args, TimeProvider.System, seed, Console.Out, Console.Error, stopping.Token);
        }

        using ConsoleLogs logs = new(LogLevel.Information, TimeProvider.System);
        return await component(args, TimeProvider.System, seed, logs, Console.Error, stopping.Token);
    }

    private static async Task<int> RefuseAsync(string command)
    {
        await Console.Error.WriteLineAsync(
            command == "etcdctl" ? "kapell: there is no etcdctl here: etcd's own works with the store\n  next: etcdctl --endpoints http://127.0.0.1:2379 endpoint status"
            : $"kapell: unknown command \"{command}\"\n  next: kapell --help");
        return UsageError;
    }
}
