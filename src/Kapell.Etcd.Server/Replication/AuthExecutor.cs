using System.Globalization;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Rpc;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Replication;

/// <summary>Changes of users and roles, and tokens given out, as the log has them. etcd: auth/store.go, apply/backend.go</summary>
internal sealed class AuthExecutor(AuthTable table, SimpleTokens tokens)
{
    /// <summary>Writes what follows the header of the response. Null when the request is not of this kind.</summary>
    public AuthRefusal? Apply(IMessage request, ulong entry, long now, ReplyWriter? writer) => request switch
    {
        AuthEnableRequest => table.Enable(),
        AuthDisableRequest => Disable(),
        AuthUserAddRequest add => AddUser(add),
        AuthUserDeleteRequest delete => WithoutTokens(delete.Name, table.DeleteUser(delete.Name)),
        AuthUserChangePasswordRequest change => WithoutTokens(change.Name, ChangePassword(change)),
        AuthUserGrantRoleRequest grant => table.GrantRole(grant.User, grant.Role),
        AuthUserRevokeRoleRequest revoke => table.RevokeRole(revoke.Name, revoke.Role),
        AuthRoleAddRequest add => table.AddRole(add.Name),
        AuthRoleDeleteRequest delete => table.DeleteRole(delete.Role),
        AuthRoleGrantPermissionRequest { Perm: null } => AuthRefusal.PermissionNotGiven,
        AuthRoleGrantPermissionRequest grant => table.GrantPermission(grant.Name, AuthRecordsCodec.ToPermission(grant.Perm)),
        AuthRoleRevokePermissionRequest revoke => table.RevokePermission(revoke.Role, revoke.Key.ToByteArray(), revoke.RangeEnd.ToByteArray()),
        TokenGrant grant => GrantToken(grant, entry, now, writer),
        _ => null,
    };

    private AuthRefusal Disable()
    {
        tokens.Clear();
        return table.Disable();
    }

    private AuthRefusal AddUser(AuthUserAddRequest request) => TryHash(request.HashedPassword, out byte[] hash)
        ? table.AddUser(request.Name, hash, request.Options?.NoPassword ?? false)
        : AuthRefusal.BadPasswordHash;

    private AuthRefusal ChangePassword(AuthUserChangePasswordRequest request) => TryHash(request.HashedPassword, out byte[] hash)
        ? table.ChangePassword(request.Name, hash)
        : AuthRefusal.BadPasswordHash;

    private AuthRefusal WithoutTokens(string user, AuthRefusal refusal)
    {
        if (refusal == AuthRefusal.None)
        {
            tokens.Forget(user);
        }

        return refusal;
    }

    private AuthRefusal GrantToken(TokenGrant grant, ulong entry, long now, ReplyWriter? writer)
    {
        if (!table.Enabled)
        {
            return AuthRefusal.NotEnabled;
        }

        if (table.FindUser(grant.User) is not { NoPassword: false })
        {
            return AuthRefusal.Failed;
        }

        string token = string.Create(CultureInfo.InvariantCulture, $"{grant.Prefix}.{entry}");
        tokens.Grant(token, grant.User, now);
        writer?.Text(2, token);
        return AuthRefusal.None;
    }

    // Base64, made by the member that took the request, or by a client that hashes by itself.
    private static bool TryHash(string text, out byte[] hash)
    {
        hash = new byte[text.Length];
        bool good = Convert.TryFromBase64String(text, hash, out int bytes);
        hash = hash[..bytes];
        return good;
    }
}
