using System.Collections.Concurrent;

namespace Kapell.Mvcc.Auth;

/// <summary>
/// Users, roles and who may do what. Changed only while the log is applied, the same on every member; each change counts the revision up,
/// so that what was permitted before it is judged anew. Reading is safe from several threads while nobody changes it.
/// etcd: server/auth/store.go
/// </summary>
public sealed class AuthTable
{
    public const string Root = "root";

    private readonly SortedDictionary<string, AuthUser> _users = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, AuthRole> _roles = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, (KeySet Reads, KeySet Writes)> _rights = new(StringComparer.Ordinal);
    private volatile bool _enabled;

    public bool Enabled => _enabled;

    public ulong Revision { get; private set; } = 1;

    public IReadOnlyCollection<AuthUser> Users => _users.Values;

    public IReadOnlyCollection<AuthRole> Roles => _roles.Values;

    public AuthUser? FindUser(string name) => _users.GetValueOrDefault(name);

    public AuthRole? FindRole(string name) => _roles.GetValueOrDefault(name);

    /// <summary>Takes the place of everything.</summary>
    public void Load(bool enabled, ulong revision, IEnumerable<AuthUser> users, IEnumerable<AuthRole> roles)
    {
        _users.Clear();
        _roles.Clear();
        _rights.Clear();
        foreach (AuthUser user in users)
        {
            _users[user.Name] = user;
        }

        foreach (AuthRole role in roles)
        {
            _roles[role.Name] = role;
        }

        Revision = Math.Max(1, revision);
        _enabled = enabled;
    }

    public AuthRefusal Enable()
    {
        if (!_enabled)
        {
            AuthUser? root = FindUser(Root);
            if (root is null || !root.HasRole(Root))
            {
                return root is null ? AuthRefusal.RootUserNotExist : AuthRefusal.RootRoleNotExist;
            }

            // Not a change of the tables: upstream does not count it.
            _rights.Clear();
            _enabled = true;
        }

        return AuthRefusal.None;
    }

    public AuthRefusal Disable()
    {
        if (_enabled)
        {
            _enabled = false;
            Changed();
        }

        return AuthRefusal.None;
    }

    public AuthRefusal AddUser(string name, byte[] passwordHash, bool noPassword)
    {
        if (name.Length == 0 || _users.ContainsKey(name))
        {
            return name.Length == 0 ? AuthRefusal.UserEmpty : AuthRefusal.UserExists;
        }

        return Set(new AuthUser(name, noPassword ? [] : passwordHash, noPassword, []));
    }

    public AuthRefusal DeleteUser(string name)
    {
        if (_enabled && name == Root)
        {
            return AuthRefusal.InvalidManagement;
        }

        if (!_users.Remove(name))
        {
            return AuthRefusal.UserNotFound;
        }

        return Changed();
    }

    public AuthRefusal ChangePassword(string name, byte[] passwordHash) => FindUser(name) is { } user
        ? Set(user with { PasswordHash = user.NoPassword ? [] : passwordHash })
        : AuthRefusal.UserNotFound;

    public AuthRefusal GrantRole(string name, string role)
    {
        if (FindUser(name) is not { } user)
        {
            return AuthRefusal.UserNotFound;
        }

        // The role of that name needs no record.
        if (role != Root && !_roles.ContainsKey(role))
        {
            return AuthRefusal.RoleNotFound;
        }

        return user.HasRole(role) ? AuthRefusal.None : Set(user with { Roles = [.. user.Roles.Append(role).Order(StringComparer.Ordinal)] });
    }

    public AuthRefusal RevokeRole(string name, string role)
    {
        if (_enabled && name == Root && role == Root)
        {
            return AuthRefusal.InvalidManagement;
        }

        if (FindUser(name) is not { } user)
        {
            return AuthRefusal.UserNotFound;
        }

        return user.HasRole(role) ? Set(Without(user, role)) : AuthRefusal.RoleNotGranted;
    }

    public AuthRefusal AddRole(string name)
    {
        if (name.Length == 0 || _roles.ContainsKey(name))
        {
            return name.Length == 0 ? AuthRefusal.RoleEmpty : AuthRefusal.RoleExists;
        }

        return Set(new AuthRole(name, []));
    }

    public AuthRefusal DeleteRole(string name)
    {
        if (_enabled && name == Root)
        {
            return AuthRefusal.InvalidManagement;
        }

        if (!_roles.Remove(name))
        {
            return AuthRefusal.RoleNotFound;
        }

        foreach (AuthUser user in _users.Values.Where(u => u.HasRole(name)).ToArray())
        {
            _users[user.Name] = Without(user, name);
        }

        return Changed();
    }

    /// <summary>Adds a permission, or changes the kind of the one on the same range.</summary>
    public AuthRefusal GrantPermission(string name, AuthPermission permission)
    {
        bool valid = permission.Key.Length > 0
            && (permission.End.Length == 0 || KeyRange.IsUnbounded(permission.End) || permission.Key.AsSpan().SequenceCompareTo(permission.End) < 0);
        if (!valid)
        {
            return AuthRefusal.InvalidManagement;
        }

        if (FindRole(name) is not { } role)
        {
            return AuthRefusal.RoleNotFound;
        }

        List<AuthPermission> all = [.. role.Permissions];
        int same = all.FindIndex(p => IsOn(p, permission.Key, permission.End));
        if (same >= 0)
        {
            all[same] = permission;
        }
        else
        {
            int after = all.FindIndex(p => p.Key.AsSpan().SequenceCompareTo(permission.Key) > 0);
            all.Insert(after < 0 ? all.Count : after, permission);
        }

        return Set(role with { Permissions = all });
    }

    public AuthRefusal RevokePermission(string name, byte[] key, byte[] end)
    {
        if (FindRole(name) is not { } role)
        {
            return AuthRefusal.RoleNotFound;
        }

        AuthPermission[] left = [.. role.Permissions.Where(p => !IsOn(p, key, end))];
        return left.Length == role.Permissions.Count ? AuthRefusal.PermissionNotGranted : Set(role with { Permissions = left });
    }

    /// <summary>Whether the caller may read all keys of the range; always when this is not enabled.</summary>
    public AuthRefusal JudgeRead(in Caller caller, ReadOnlySpan<byte> key, ReadOnlySpan<byte> end) => Judge(caller, key, end, writes: false);

    /// <summary>Whether the caller may write all keys of the range; always when this is not enabled.</summary>
    public AuthRefusal JudgeWrite(in Caller caller, ReadOnlySpan<byte> key, ReadOnlySpan<byte> end) => Judge(caller, key, end, writes: true);

    /// <summary>Whether the caller has the role root; always when this is not enabled. The revision does not matter. etcd: IsAdminPermitted</summary>
    public AuthRefusal JudgeAdministrator(in Caller caller)
    {
        if (!_enabled)
        {
            return AuthRefusal.None;
        }

        if (caller.IsNobody)
        {
            return AuthRefusal.UserEmpty;
        }

        return FindUser(caller.Name!) is not { } user ? AuthRefusal.UserNotFound
            : user.HasRole(Root) ? AuthRefusal.None
            : AuthRefusal.PermissionDenied;
    }

    private static bool IsOn(AuthPermission permission, byte[] key, byte[] end) =>
        permission.Key.AsSpan().SequenceEqual(key) && permission.End.AsSpan().SequenceEqual(end);

    private static AuthUser Without(AuthUser user, string role) => user with { Roles = [.. user.Roles.Where(r => r != role)] };

    private AuthRefusal Judge(in Caller caller, ReadOnlySpan<byte> key, ReadOnlySpan<byte> end, bool writes)
    {
        if (!_enabled)
        {
            return AuthRefusal.None;
        }

        if (caller.Revision == 0)
        {
            return AuthRefusal.UserEmpty;
        }

        if (caller.Revision < Revision)
        {
            return AuthRefusal.OldRevision;
        }

        if (caller.Name is null || FindUser(caller.Name) is not { } user)
        {
            return AuthRefusal.PermissionDenied;
        }

        if (user.HasRole(Root))
        {
            return AuthRefusal.None;
        }

        (KeySet reads, KeySet writesOf) = _rights.GetOrAdd(user.Name, static (_, state) => state.Table.RightsOf(state.User), (Table: this, User: user));
        return (writes ? writesOf : reads).Contains(key, end) ? AuthRefusal.None : AuthRefusal.PermissionDenied;
    }

    private (KeySet Reads, KeySet Writes) RightsOf(AuthUser user)
    {
        AuthPermission[] all = [.. user.Roles.Select(FindRole).OfType<AuthRole>().SelectMany(static r => r.Permissions)];
        return (
            new KeySet(all.Where(static p => p.Kind is AccessKind.Read or AccessKind.ReadWrite).Select(static p => (p.Key, p.End))),
            new KeySet(all.Where(static p => p.Kind is AccessKind.Write or AccessKind.ReadWrite).Select(static p => (p.Key, p.End))));
    }

    private AuthRefusal Set(AuthUser user)
    {
        _users[user.Name] = user;
        return Changed();
    }

    private AuthRefusal Set(AuthRole role)
    {
        _roles[role.Name] = role;
        return Changed();
    }

    private AuthRefusal Changed()
    {
        Revision++;
        _rights.Clear();
        return AuthRefusal.None;
    }
}
