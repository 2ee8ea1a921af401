using System.Text;
using System.Text.RegularExpressions;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>
/// The real etcdctl, given the same commands in the same order with both stores, prints the same. What is each store's own (ports,
/// sizes, times, terms, versions) is made alike first.
/// </summary>
public sealed partial class EtcdctlTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Commands of one session; "&lt;" gives what follows as input, lines parted by "|".</summary>
    private static readonly string[] Session =
    [
        "put foo bar", "put foo1 bar1 --prev-kv", "put foo bar2 --prev-kv", "put empty <", "get foo", "get foo --print-value-only",
        "get --prefix foo", "get --prefix foo --keys-only", "get --prefix foo --limit=1", "get --prefix foo --order=DESCEND --sort-by=KEY",
        "get --prefix foo --sort-by=MODIFY --order=ASCEND", "get foo --rev=2", "get foo --rev=99", "get foo -w json", "get foo --hex",
        "get foo -w fields", "get foo -w protobuf", "get --from-key foo", "get foo foo2", "get nothing", 
        "get foo --consistency=s", "put foo --ignore-value", "put nope --ignore-value", "put foo x --lease=1f", "get", "put",
        "del foo1 --prev-kv", "del foo1", "del --prefix nothing", "put p/1 a", "put p/2 b", "del --prefix p/ --prev-kv", "put r1 a", "put r2 b",
        "del r1 r3", "del --from-key zzz", "get '' --from-key --keys-only",
        "txn <mod(\"foo\") > \"0\"||put foo new|get foo||del foo||", "txn <ver(\"foo\") = \"1000\"||put a b||get foo|put other x||",
        "txn <value(\"foo\") = \"new\"|create(\"none\") = \"0\"||get foo||||", "txn -w json <|put j 1|get j||del j||",
        "txn <|put dup 1|put dup 2|||",
        "lease grant 100 -w fields", "lease list", "lease revoke 5e", "lease timetolive 5e", "lease keep-alive --once 5e", "lease timetolive 5e --keys -w json",
        "compaction 5", "compaction 5", "compaction 999", "get foo --rev=3", "compaction 8 --physical",
        "alarm list", "alarm disarm", "defrag", "member list", "member list -w json", "member list -w table",
        "member list -w fields", "endpoint health -w json", "endpoint status -w fields", "move-leader 5", "role list", "user list",
        "user get nobody", "role get nothing", "auth disable", "auth enable", "endpoint hashkv", "endpoint hashkv -w json", "endpoint hashkv --rev=9",
        "endpoint hashkv --rev=99", "endpoint hashkv --rev=2", "version",
        "get --prefix '' -w json", "get foo --hex -w json", "get --prefix '' --sort-by=VERSION --order=DESCEND --print-value-only",
    ];

    /// <summary>Users and roles: made, enabled, used and refused, revoked, disabled.</summary>
    private static readonly string[] UserSession =
    [
        "user add root:r", "user add root:r", "user add bob:b", "user add certain --no-password", "user add '' --interactive=false <x|", "user list", "role add readers",
        "role add readers", "role add root", "role list", "auth enable", "user grant-role root root", "user grant-role root root", "user grant-role bob nothing",
        "user grant-role bob readers", "role grant-permission readers read foo", "role grant-permission readers readwrite a b", "role grant-permission readers write x --prefix",
        "role grant-permission nothing read z", "role grant-permission readers read one --from-key", "role get readers",
        "role get readers -w json", "user get bob", "user get bob --detail", "put foo bar", "put a1 1", "put other o", "auth enable", "auth enable --user root:r", "put foo 2",
        "get foo", "get foo --user bob:wrong", "get foo --user nobody:x", "get foo --user certain:x", "get foo --user bob:b", "get foo fop --user bob:b", "get foo --prefix --user bob:b",
        "get bar --user bob:b", "get --from-key foo --user bob:b", "get --from-key one --user bob:b", "put foo 3 --user bob:b", "put a1 2 --user bob:b", "put x1 2 --user bob:b",
        "put x1 3 --prev-kv --user bob:b", "get x1 --user bob:b", "del x1 --user bob:b", "del x1 --prev-kv --user bob:b", "del a b --user bob:b", "del a c --user bob:b",
        "txn --user bob:b <mod(\"foo\") > \"0\"||get foo||put other 1||", "txn --user bob:b <mod(\"foo\") > \"0\"||get foo||put a1 7||",
        "txn --user bob:b <mod(\"other\") > \"0\"||get foo||||", "txn --user bob:b <||put a2 1|get a2|del a2||||", "user list --user bob:b", "user get bob --user bob:b", "user get root --user bob:b",
        "role get readers --user bob:b", "role get root --user bob:b", "role list --user bob:b", "user add eve:e --user bob:b", "user delete root --user root:r",
        "role delete root --user root:r", "user revoke-role root root --user root:r", "member list --user bob:b -w fields", 
        "alarm disarm --user bob:b", "member remove 5 --user bob:b",
        "role revoke-permission readers foo --user root:r", "role revoke-permission readers foo --user root:r", "get foo --user bob:b", "user revoke-role bob readers --user root:r",
        "user revoke-role bob readers --user root:r", "get a1 --user bob:b", "user passwd bob --interactive=false --user root:r <new|", "get a1 --user bob:b", "user grant-role bob readers --user root:r",
        "get a1 --user bob:new", "role delete readers --user root:r", "role delete readers --user root:r", "user get bob --user root:r", "get a1 --user bob:new", "user delete bob --user root:r",
        "user delete bob --user root:r", "get a1 --user bob:new", "auth disable", "auth disable --user root:r", "get a1", "get a1 --user root:r", "user list", "role list",
    ];

    [Fact]
    public Task Every_command_prints_and_exits_the_same() => RunsTheSameAsync(Session);

    [Fact]
    public Task Users_and_roles_are_kept_and_refused_in_the_same_words() => RunsTheSameAsync(UserSession);

    private static async Task RunsTheSameAsync(string[] session)
    {
        (string ours, string theirs) = await BothAsync(async store =>
        {
            StringBuilder all = new();
            foreach (string line in session)
            {
                (int code, string said) = await RunAsync(store, line);
                all.Append("$ etcdctl ").Append(line).Append('\n').Append(AtRest(said, store)).Append("exit ").Append(code).Append('\n');
            }

            return all.ToString();
        });
        Assert.Equal(theirs, ours);
    }

    [Fact]
    public async Task A_watch_prints_what_happens()
    {
        (string ours, string theirs) = await BothAsync(async store =>
        {
            using ProgramRun watch = ProgramRun.Start(Programs.Etcdctl!, [Endpoint(store), "watch", "--prefix", "w/", "--prev-kv", "--rev=1"]);
            await RunAsync(store, "put w/a 1");
            await RunAsync(store, "put w/a 2");
            await RunAsync(store, "del w/a");
            await RunAsync(store, "put w/end <x|y");
            using PeriodicTimer pace = new(TimeSpan.FromMilliseconds(10));
            while (!watch.Said.Contains("w/end\nx\ny\n", StringComparison.Ordinal) && await pace.WaitForNextTickAsync(Cancellation))
            {
                Assert.False(watch.HasExited, watch.Said);
            }

            return watch.Said;
        });
        Assert.Equal(theirs, ours);
    }

    [Fact]
    public async Task Locks_and_elections_work_through_leases()
    {
        (string ours, string theirs) = await BothAsync(async store =>
        {
            (int code, string said) = await RunAsync(store, "lock mutex echo locked");
            (int elected, string winner) = await RunAsync(store, "get --prefix mutex --keys-only");
            return $"{code} {said.Contains("locked", StringComparison.Ordinal)} {elected} '{winner.Trim()}'";
        });
        Assert.Equal("0 True 0 ''", theirs);
        Assert.Equal(theirs, ours);
    }

    private static async Task<(string Ours, string Theirs)> BothAsync(Func<StoreProcess, Task<string>> session)
    {
        if (Programs.Etcdctl is null)
        {
            Assert.Skip("etcdctl is not installed: apt-get install etcd-client");
        }

        using StoreProcess ours = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        using StoreProcess theirs = await StoreProcess.StartAsync(StoreKind.Upstream, Cancellation);
        string[] said = await Task.WhenAll(session(ours), session(theirs));
        return (said[0], said[1]);
    }

    private static string Endpoint(StoreProcess store) => $"--endpoints=127.0.0.1:{store.Port}";

    private static async Task<(int Code, string Said)> RunAsync(StoreProcess store, string line)
    {
        int input = line.IndexOf('<', StringComparison.Ordinal);
        string command = input < 0 ? line : line[..input];
        string fed = input < 0 ? "" : line[(input + 1)..].Replace('|', '\n');
        return await ProgramRun.CompleteAsync(
            Programs.Etcdctl!, ["--command-timeout=10s", Endpoint(store), .. Words().Matches(command).Select(m => m.Value.Trim('\''))], fed, Cancellation);
    }

    /// <summary>What must differ between two processes is replaced by a word.</summary>
    private static string AtRest(string said, StoreProcess store)
    {
        string text = said.Replace($"127.0.0.1:{store.Port}", "ENDPOINT", StringComparison.Ordinal);
        text = Took().Replace(text, "took");
        text = LeaseId().Replace(text, "lease ID");
        text = Volatile().Replace(text, m => m.Groups[1].Value + "*");
        text = LogTime().Replace(text, "time");
        text = ClientNumber().Replace(text, "client");
        return text;
    }

    [GeneratedRegex("'[^']*'|\\S+")]
    private static partial Regex Words();

    [GeneratedRegex(@"took(""?[:=]?\s*""?)[\d.]+[µm]?s")]
    private static partial Regex Took();

    [GeneratedRegex(@"lease [0-9a-f]{15,16}\b|(?<=""ID"" : )-?\d{17,}|^[0-9a-f]{15,16}$", RegexOptions.Multiline)]
    private static partial Regex LeaseId();

    [GeneratedRegex(@"(""(?:raft_term|RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse|Version|StorageVersion|DbSize|DbSizeInUse)"" ?: ?)[^,}\n]+")]
    private static partial Regex Volatile();

    [GeneratedRegex(@"client-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")]
    private static partial Regex ClientNumber();

    [GeneratedRegex(@"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d{4})|\d{4}/\d\d/\d\d \d\d:\d\d:\d\d")]
    private static partial Regex LogTime();
}
