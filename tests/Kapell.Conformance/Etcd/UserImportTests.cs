using System.Security.Cryptography;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Users in snapshots, both ways, and signed tokens of one program at the other.</summary>
public sealed class UserImportTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Users_of_a_snapshot_of_one_come_in_at_the_other(StoreKind kind)
    {
        StoreKind other = kind == StoreKind.Kapell ? StoreKind.Upstream : StoreKind.Kapell;
        string folder = StoreProcess.NewDirectory();
        string file = Path.Combine(folder, "saved.db");
        string data = Path.Combine(folder, "data");
        using (StoreClient store = new(await StoreProcess.StartAsync(kind, Cancellation)))
        {
            await EnableAsync(store);
            await RunAsync(Programs.Etcdctl!, ["--user", "root:r", $"--endpoints=127.0.0.1:{store.Process.Port}", "snapshot", "save", file]);
        }

        string[] cluster = ["--initial-advertise-peer-urls", "http://127.0.0.1:2380", "--initial-cluster", "default=http://127.0.0.1:2380"];
        string[] restore = ["snapshot", "restore", file, "--data-dir", data, .. cluster];
        await RunAsync(other == StoreKind.Kapell ? Programs.Kapell : Programs.Etcdctl!, other == StoreKind.Kapell ? ["etcdutl", .. restore] : restore);
        using (StoreClient store = new(await StoreProcess.StartAsync(other, Cancellation, data)))
        {
            Metadata bob = await LoginAsync(store, "bob", "b");
            await store.Kv.PutAsync(new PutRequest { Key = StoreClient.Bytes("mine") }, bob);
            Assert.Equal("PermissionDenied: etcdserver: permission denied", await StoreClient.RefusalAsync(
                store.Kv.PutAsync(new PutRequest { Key = StoreClient.Bytes("other") }, bob)));
        }

        Directory.Delete(folder, recursive: true);
    }

    [Theory]
    [InlineData("RS256")]
    [InlineData("PS384")]
    [InlineData("ES256")]
    [InlineData("HS512")]
    public async Task A_signed_token_of_one_is_believed_by_the_other(string method)
    {
        string folder = StoreProcess.NewDirectory();
        string option = await WriteKeysAsync(folder, method);
        using StoreClient ours = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, null, "--auth-token", option));
        using StoreClient theirs = new(await StoreProcess.StartAsync(StoreKind.Upstream, Cancellation, null, "--auth-token", option));
        await EnableAsync(ours);
        await EnableAsync(theirs);
        PutRequest put = new() { Key = StoreClient.Bytes("mine") };
        await theirs.Kv.PutAsync(put, await LoginAsync(ours, "bob", "b"));
        Metadata bob = await LoginAsync(theirs, "bob", "b");
        await ours.Kv.PutAsync(put, bob);

        // Signed tokens carry the revision of the users: one of before a change is refused.
        await ours.Users.RoleAddAsync(new AuthRoleAddRequest { Name = "more" }, await LoginAsync(ours, "root", "r"));
        Assert.Equal("InvalidArgument: etcdserver: revision of auth store is old", await StoreClient.RefusalAsync(ours.Kv.PutAsync(put, bob)));
        string token = bob[0].Value;
        Metadata forged = new() { { "token", token[..^4] + (token[^4] == 'A' ? 'B' : 'A') + token[^3..] } };
        Assert.Equal("Unauthenticated: etcdserver: invalid auth token", await StoreClient.RefusalAsync(ours.Kv.PutAsync(put, forged)));
        Directory.Delete(folder, recursive: true);
    }

    private static async Task<string> WriteKeysAsync(string folder, string method)
    {
        string own = Path.Combine(folder, "own.pem");
        string shown = Path.Combine(folder, "shown.pem");
        using RSA rsa = RSA.Create(2048);
        using ECDsa curve = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        (string privatePem, string publicPem) = method[0] switch
        {
            'E' => (curve.ExportECPrivateKeyPem(), curve.ExportSubjectPublicKeyInfoPem()),
            'H' => ("a secret that both know", ""),
            _ => (rsa.ExportRSAPrivateKeyPem(), rsa.ExportSubjectPublicKeyInfoPem()),
        };
        await File.WriteAllTextAsync(own, privatePem, Cancellation);
        await File.WriteAllTextAsync(shown, publicPem, Cancellation);
        return $"jwt,{(publicPem.Length > 0 ? $"pub-key={shown}," : "")}priv-key={own},sign-method={method},ttl=10m";
    }

    private static async Task RunAsync(string program, string[] args)
    {
        (int code, string said) = await ProgramRun.CompleteAsync(program, args, "", Cancellation);
        Assert.True(code == 0, said);
    }

    private static async Task EnableAsync(StoreClient store)
    {
        await store.Users.UserAddAsync(new AuthUserAddRequest { Name = "root", Password = "r" });
        await store.Users.UserGrantRoleAsync(new AuthUserGrantRoleRequest { User = "root", Role = "root" });
        await store.Users.UserAddAsync(new AuthUserAddRequest { Name = "bob", Password = "b" });
        await store.Users.RoleAddAsync(new AuthRoleAddRequest { Name = "own" });
        Permission permission = new() { PermType = Permission.Types.Type.Readwrite, Key = StoreClient.Bytes("mine") };
        await store.Users.RoleGrantPermissionAsync(new AuthRoleGrantPermissionRequest { Name = "own", Perm = permission });
        await store.Users.UserGrantRoleAsync(new AuthUserGrantRoleRequest { User = "bob", Role = "own" });
        await store.Users.AuthEnableAsync(new AuthEnableRequest());
    }

    private static async Task<Metadata> LoginAsync(StoreClient store, string name, string password) => new()
    {
        { "token", (await store.Users.AuthenticateAsync(new AuthenticateRequest { Name = name, Password = password }, cancellationToken: Cancellation)).Token },
    };
}
