using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Replication;

/// <summary>Users and roles as messages of the protocol: so they stand in checkpoints and in etcd's database.</summary>
internal static class AuthRecordsCodec
{
    public static AuthTables Save(AuthTable table)
    {
        AuthTables tables = new() { Enabled = table.Enabled, Revision = table.Revision };
        tables.Users.AddRange(table.Users.Select(ToMessage));
        tables.Roles.AddRange(table.Roles.Select(ToMessage));
        return tables;
    }

    /// <param name="tables">Null: none were ever made.</param>
    public static void Load(AuthTable table, AuthTables? tables) => table.Load(
        tables?.Enabled ?? false, tables?.Revision ?? 1, (tables?.Users ?? []).Select(ToUser), (tables?.Roles ?? []).Select(ToRole));

    public static Permission ToMessage(AuthPermission permission) => new()
    {
        PermType = (Permission.Types.Type)permission.Kind,
        Key = ByteString.CopyFrom(permission.Key),
        RangeEnd = ByteString.CopyFrom(permission.End),
    };

    public static AuthPermission ToPermission(Permission message) =>
        new((AccessKind)message.PermType, message.Key.ToByteArray(), message.RangeEnd.ToByteArray());

    private static User ToMessage(AuthUser user)
    {
        User message = new()
        {
            Name = ByteString.CopyFromUtf8(user.Name),
            Password = ByteString.CopyFrom(user.PasswordHash),
            Options = new UserAddOptions { NoPassword = user.NoPassword },
        };
        message.Roles.AddRange(user.Roles);
        return message;
    }

    private static Role ToMessage(AuthRole role)
    {
        Role message = new() { Name = ByteString.CopyFromUtf8(role.Name) };
        message.KeyPermission.AddRange(role.Permissions.Select(ToMessage));
        return message;
    }

    private static AuthUser ToUser(User message) => new(
        message.Name.ToStringUtf8(), message.Password.ToByteArray(), message.Options?.NoPassword ?? false,
        [.. message.Roles.Order(StringComparer.Ordinal)]);

    private static AuthRole ToRole(Role message) => new(message.Name.ToStringUtf8(), [.. message.KeyPermission.Select(ToPermission)]);
}
