using System.Globalization;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Client.Members;

/// <summary>
/// The command <c>member replace</c>. Exit codes: 0 done, 1 refused or not done in time (the line says why and what to do), 2 the flags are
/// wrong.
/// </summary>
public static class MemberCommand
{
    private const int Failed = 1;
    private const string Usage = """
        Members of a running store.

        Usage:
          kapell member replace MEMBER --peer-urls URL [flags]

        MEMBER is the number (as `etcdctl member list` shows it) or the name of a voting member that is dead. A new member is added as a
        learner, promoted when it has caught up, and then the dead one is removed: there are never fewer voters than before. Start the
        new member's process when asked to, or before. When interrupted, the same command takes it up again.
        """;

    public static async Task<int> RunAsync(IReadOnlyList<string> args, TimeProvider time, TextWriter output, CancellationToken stopping)
    {
        if (args.Count == 0 || args[0] is "help" or "--help" or "-h")
        {
            await output.WriteLineAsync(Usage);
            return 0;
        }

        return args[0] == "replace"
            ? await ReplaceAsync([.. args.Skip(1)], time, output, stopping)
            : throw new FlagException($"unknown command \"{args[0]}\"");
    }

    private static async Task<int> ReplaceAsync(IReadOnlyList<string> args, TimeProvider time, TextWriter output, CancellationToken stopping)
    {
        FlagSet flags = new("kapell member replace MEMBER", Usage[..Usage.IndexOf('\n')]);
        FlagValue<IReadOnlyList<string>> endpoints = flags.List("endpoints", ["http://127.0.0.1:2379"], "Client addresses of the cluster.");
        FlagValue<IReadOnlyList<string>> peers = flags.List("peer-urls", [], "Where the new member listens for its peers.");
        FlagValue<int> min = flags.Int("min-voters", 0, "Refuse unless there are at least this many voting members, before and after. 0 means as many as there are.");
        FlagValue<TimeSpan> timeout = flags.Duration("timeout", TimeSpan.FromMinutes(10), "How long to wait for the new member to start and catch up.");
        FlagValue<string> ca = flags.String("cacert", "", "Verify certificates of TLS-enabled servers using this CA bundle.");
        FlagValue<string> cert = flags.String("cert", "", "Identify to servers using this TLS certificate file.");
        FlagValue<string> key = flags.String("key", "", "Identify to servers using this TLS key file.");
        FlagValue<string> user = flags.String("user", "", "username:password, when users are enabled.");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            await output.WriteLineAsync(flags.Help());
            return 0;
        }

        Check(flags, peers.Value, min.Value, user.Value);
        EtcdClientOptions options = new() { Endpoints = endpoints.Value, CaFile = ca.Value, CertFile = cert.Value, KeyFile = key.Value };
        using ClusterAccess cluster = new(options, time);
        try
        {
            if (user.Value.Split(':', 2) is [{ Length: > 0 } name, string password])
            {
                await cluster.LogInAsync(name, password, stopping);
            }

            ulong dead = Find(await cluster.MembersAsync(stopping), flags.Arguments[0]);
            MemberReplacement replacement = new(cluster, new ReplacementWish(dead, peers.Value, min.Value), time, output);
            return await replacement.RunAsync(timeout.Value, stopping) ? 0 : Failed;
        }
        catch (Exception e) when (e is RpcException or TimeoutException or InvalidDataException)
        {
            await output.WriteLineAsync("failed: " + (e is RpcException { Status.Detail: var detail } ? detail : e.Message));
            return Failed;
        }
    }

    private static void Check(FlagSet flags, IReadOnlyList<string> peers, int min, string user)
    {
        string? wrong = flags.Arguments.Count != 1 ? "give the one member that is to be replaced"
            : peers.Count == 0 ? "--peer-urls is needed: where the new member listens for its peers"
            : peers.FirstOrDefault(static u => !Uri.TryCreate(u, UriKind.Absolute, out Uri? uri) || uri.Scheme is not ("http" or "https")) is { } bad
                ? $"--peer-urls: {bad} is not http(s)://host:port"
            : min < 0 ? "--min-voters must not be negative"
            : user.Length > 0 && !user.Contains(':', StringComparison.Ordinal) ? "--user is username:password"
            : null;
        if (wrong is not null)
        {
            throw new FlagException(wrong);
        }
    }

    // One that is gone already has a number and no name any more: then the work was interrupted at its very end.
    private static ulong Find(IReadOnlyList<Member> members, string text)
    {
        Member[] named = [.. members.Where(m => m.Name == text)];
        return named.Length == 1 ? named[0].ID
            : named.Length > 1 ? throw new InvalidDataException($"{named.Length} members are called {text}: give the number")
            : ulong.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong id) ? id
            : throw new InvalidDataException($"no member is called {text}");
    }
}
