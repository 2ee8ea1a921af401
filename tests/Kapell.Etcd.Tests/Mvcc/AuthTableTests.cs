using CsCheck;
using Kapell.Mvcc;
using Kapell.Mvcc.Auth;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

/// <summary>Rights against a model that looks at every key.</summary>
public sealed class AuthTableTests
{
    // Keys of one or two letters out of four: few enough to try them all.
    private static readonly byte[][] AllKeys = [.. Enumerable.Range(1, 4).SelectMany(a => Enumerable.Range(0, 5).Select(b =>
        b == 0 ? new[] { (byte)a } : [(byte)a, (byte)(b - 1)]))];

    private static readonly Gen<byte[]> GenKey = Gen.Byte[1, 4].Array[1, 2];

    private static readonly Gen<(byte[] Key, byte[] End)> GenRange =
        Gen.Select(GenKey, Gen.Frequency((2, Gen.Const(Array.Empty<byte>())), (1, Gen.Const(new byte[] { 0 })), (5, GenKey)));

    [Fact]
    public void A_range_is_permitted_when_each_of_its_keys_is() => Gen.Select(GenRange.Array[0, 5], GenRange).Sample((granted, asked) =>
    {
        AuthTable table = Table();
        foreach ((byte[] key, byte[] end) in granted)
        {
            table.GrantPermission("r", new AuthPermission(AccessKind.Read, key, end));
        }

        AuthPermission[] held = [.. table.FindRole("r")!.Permissions];
        byte[][] covered = [.. AllKeys.Where(k => KeyRange.Contains(asked.Key, asked.End, k))];
        bool every = covered.All(k => held.Any(p => KeyRange.Contains(p.Key, p.End, k)));
        bool permitted = table.JudgeRead(new Caller("u", table.Revision), asked.Key, asked.End) == AuthRefusal.None;

        // Ranges also hold keys that are longer than those tried, so that only one direction holds without exception.
        Assert.True(!permitted || every);
        bool single = held.Any(p => asked.End.Length == 0 ? KeyRange.Contains(p.Key, p.End, asked.Key) : Holds(p, asked));
        Assert.True(permitted || !single);
        Assert.NotEqual(AuthRefusal.None, table.JudgeWrite(new Caller("u", table.Revision), asked.Key, asked.End));
    });

    [Fact]
    public void Touching_ranges_are_one()
    {
        AuthTable table = Table();
        table.GrantPermission("r", new AuthPermission(AccessKind.ReadWrite, "a"u8.ToArray(), "b"u8.ToArray()));
        table.GrantPermission("r", new AuthPermission(AccessKind.ReadWrite, "b"u8.ToArray(), []));
        Caller caller = new("u", table.Revision);
        Assert.Equal(AuthRefusal.None, table.JudgeRead(caller, "a"u8, "b\0"u8));
        Assert.Equal(AuthRefusal.PermissionDenied, table.JudgeRead(caller, "a"u8, "b\0\0"u8));
        Assert.Equal(AuthRefusal.PermissionDenied, table.JudgeRead(caller, "a"u8, "\0"u8));
        Assert.Equal(AuthRefusal.OldRevision, table.JudgeRead(caller with { Revision = 1 }, "a"u8, default));
        Assert.Equal(AuthRefusal.UserEmpty, table.JudgeRead(default, "a"u8, default));
    }

    [Fact]
    public void The_root_user_cannot_lock_itself_out()
    {
        AuthTable table = Table();
        Assert.Equal(AuthRefusal.InvalidManagement, table.DeleteUser("root"));
        Assert.Equal(AuthRefusal.InvalidManagement, table.RevokeRole("root", "root"));
        Assert.Equal(AuthRefusal.InvalidManagement, table.DeleteRole("root"));
        table.Disable();
        Assert.Equal(AuthRefusal.None, table.RevokeRole("root", "root"));
        Assert.Equal(AuthRefusal.RootRoleNotExist, table.Enable());
        Assert.Equal(AuthRefusal.None, table.DeleteUser("root"));
        Assert.Equal(AuthRefusal.RootUserNotExist, table.Enable());
    }

    private static bool Holds(AuthPermission permission, (byte[] Key, byte[] End) asked) =>
        permission.End.Length > 0 && KeyRange.Contains(permission.Key, permission.End, asked.Key)
        && (KeyRange.IsUnbounded(permission.End)
            || (!KeyRange.IsUnbounded(asked.End) && asked.End.AsSpan().SequenceCompareTo(permission.End) <= 0));

    private static AuthTable Table()
    {
        AuthTable table = new();
        table.AddUser("root", [], noPassword: false);
        table.GrantRole("root", "root");
        table.AddUser("u", [], noPassword: false);
        table.AddRole("r");
        table.GrantRole("u", "r");
        Assert.Equal(AuthRefusal.None, table.Enable());
        return table;
    }
}
