using System.Text.Json;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary><c>etcdutl log</c> shows what a member has written, while it runs and afterwards.</summary>
public sealed class LogCommandTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Each_record_is_a_line_with_what_it_asks_for_and_without_passwords()
    {
        using StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation));
        await store.PutAsync("a\n", "1");
        TxnRequest txn = new()
        {
            Compare = { new Compare { Key = ByteString.CopyFromUtf8("a"), Target = Compare.Types.CompareTarget.Version, Version = 0 } },
            Success = { new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = ByteString.CopyFromUtf8("b") } } },
        };
        await store.Kv.TxnAsync(txn, cancellationToken: Cancellation);
        await store.Users.UserAddAsync(new AuthUserAddRequest { Name = "eve", Password = "secret" }, cancellationToken: Cancellation);

        // Beside the member, which has not ended.
        string[] lines = (await RunAsync(["--data-dir", store.Process.DataDirectory])).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains(lines, static l => l.EndsWith("Put key=\"a\\x0a\" value=\"1\"", StringComparison.Ordinal));
        Assert.Contains(lines, static l => l.Contains("Txn compare={key=\"a\" version=0} success={request_delete_range={key=\"b\"}}", StringComparison.Ordinal));
        Assert.Contains(lines, static l => l.Contains("UserAdd name=\"eve\"", StringComparison.Ordinal) && l.Contains("***", StringComparison.Ordinal));
        Assert.DoesNotContain(lines, static l => l.Contains("secret", StringComparison.Ordinal) || l.Contains("$2", StringComparison.Ordinal));
        Assert.Contains(lines, static l => l.Contains("ConfChange AddVoter", StringComparison.Ordinal));
        store.Process.Kill();

        List<JsonElement> records = [.. (await RunAsync(["--data-dir", store.Process.DataDirectory, "-w", "json", "--from", "3"]))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static l => JsonDocument.Parse(l).RootElement)];
        List<JsonElement> entries = [.. records.Where(static r => r.GetProperty("record").GetString() == "entry")];
        Assert.All(entries, static e => Assert.True(e.GetProperty("index").GetUInt64() >= 3));
        JsonElement put = entries.Single(static e => e.GetProperty("command").GetString() == "Put");
        Assert.Equal("YQo=", put.GetProperty("request").GetProperty("key").GetString());
        Assert.Contains(records, static r => r.GetProperty("record").GetString() == "state" && r.GetProperty("commit").GetUInt64() > 0);
    }

    [Fact]
    public async Task What_is_no_log_is_named()
    {
        (int exit, string said) = await ProgramRun.CompleteAsync(Programs.Kapell, ["etcdutl", "log", "--data-dir", "/nowhere"], "", Cancellation);
        Assert.Equal(1, exit);
        Assert.Contains("/nowhere/member/wal: no such directory", said, StringComparison.Ordinal);
        (exit, said) = await ProgramRun.CompleteAsync(Programs.Kapell, ["etcdutl", "log"], "", Cancellation);
        Assert.Equal(128, exit);
        Assert.Contains("required flag(s) \"data-dir\" not set", said, StringComparison.Ordinal);

        string folder = StoreProcess.NewDirectory();
        string log = Directory.CreateDirectory(Path.Combine(folder, "member", "wal")).FullName;
        await File.WriteAllBytesAsync(Path.Combine(log, "0000000000000000-0000000000000000.wal"), new byte[4096], Cancellation);
        (exit, said) = await ProgramRun.CompleteAsync(Programs.Kapell, ["etcdutl", "log", "--data-dir", folder], "", Cancellation);
        Assert.Equal(1, exit);
        Assert.Contains("holds no log of Kapell's: it is etcd's", said, StringComparison.Ordinal);
        Directory.Delete(folder, recursive: true);
    }

    private static async Task<string> RunAsync(string[] args)
    {
        (int exit, string said) = await ProgramRun.CompleteAsync(Programs.Kapell, ["etcdutl", "log", .. args], "", Cancellation);
        Assert.True(exit == 0, said);
        return said;
    }
}
