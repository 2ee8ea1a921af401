namespace Kapell.Mvcc.Auth;

/// <summary>What a permission allows. The numbers are those of the protocol.</summary>
public enum AccessKind
{
    Read = 0,
    Write = 1,
    ReadWrite = 2,
}

/// <summary>A right on a key, or on a range of keys as <see cref="KeyRange"/> writes them.</summary>
public sealed record AuthPermission(AccessKind Kind, byte[] Key, byte[] End);

/// <summary>Permissions under a name, in the order of their keys.</summary>
public sealed record AuthRole(string Name, IReadOnlyList<AuthPermission> Permissions);

/// <summary>A user; the roles in order.</summary>
/// <param name="PasswordHash">Of bcrypt, as text; empty when nothing matches.</param>
/// <param name="NoPassword">Comes in by a certificate only.</param>
public sealed record AuthUser(string Name, byte[] PasswordHash, bool NoPassword, IReadOnlyList<string> Roles)
{
    public bool HasRole(string role) => Roles.Contains(role, StringComparer.Ordinal);
}

/// <summary>Who asks, and at which revision of the tables that was found out. The default: nobody.</summary>
public readonly record struct Caller(string? Name, ulong Revision)
{
    public bool IsNobody => string.IsNullOrEmpty(Name);
}

/// <summary>Why not. etcd: auth/store.go, its errors</summary>
public enum AuthRefusal
{
    None,
    RootUserNotExist,
    RootRoleNotExist,
    UserExists,
    UserEmpty,
    UserNotFound,
    RoleExists,
    RoleNotFound,
    RoleEmpty,
    PermissionNotGiven,
    Failed,
    PermissionDenied,
    RoleNotGranted,
    PermissionNotGranted,
    NotEnabled,
    OldRevision,
    InvalidManagement,
    BadPasswordHash,
}
