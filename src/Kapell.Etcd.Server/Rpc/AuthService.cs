using System.Security.Cryptography;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// Users and roles. Changes go through the log and are judged there; what is only asked is read here after a barrier, by the same
/// rules. etcd: v3_server.go, apply/auth.go
/// </summary>
public sealed class AuthService(ReplicaHost host, Proposer proposer, Authenticator authenticator) : Auth.AuthBase
{
    private const int TokenPrefixLength = 16;
    private const string TokenLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    private AuthTable Table => host.Replica.Applier.Auth;

    public override async Task<AuthStatusResponse> AuthStatus(AuthStatusRequest request, ServerCallContext context) => await ReadAsync(
        context, _ => new AuthStatusResponse { Header = Header(), Enabled = Table.Enabled, AuthRevision = Table.Revision });

    public override Task<AuthEnableResponse> AuthEnable(AuthEnableRequest request, ServerCallContext context) =>
        ChangeAsync(CommandKind.AuthEnable, request, AuthEnableResponse.Parser, context);

    public override Task<AuthDisableResponse> AuthDisable(AuthDisableRequest request, ServerCallContext context) =>
        ChangeAsync(CommandKind.AuthDisable, request, AuthDisableResponse.Parser, context);

    /// <summary>A token for a password. The password is checked here and stands in no log. etcd: v3_server.go Authenticate</summary>
    public override async Task<AuthenticateResponse> Authenticate(AuthenticateRequest request, ServerCallContext context)
    {
        Refuse(await host.ReadBarrierAsync(context.CancellationToken));
        while (true)
        {
            (EtcdError? error, byte[] hash, ulong revision) = host.Reading(() => FindPassword(request.Name));
            Refuse(error);
            if (!await Passwords.MatchesAsync(request.Password, hash, context.CancellationToken))
            {
                throw EtcdError.AuthFailed.ToException();
            }

            AuthenticateResponse response = await GiveTokenAsync(request.Name, revision, context);
            if (host.Reading(() => Table.Revision) == revision)
            {
                return response;
            }

            // The tables changed meanwhile, perhaps the password: once more.
        }
    }

    public override async Task<AuthUserAddResponse> UserAdd(AuthUserAddRequest request, ServerCallContext context)
    {
        AuthUserAddRequest hashed = request.Clone();
        hashed.Password = "";
        hashed.HashedPassword = request.Options?.NoPassword == true
            ? ""
            : await Passwords.HashAsync(request.Password, authenticator.Settings.BcryptCost, context.CancellationToken);
        return await ChangeAsync(CommandKind.UserAdd, hashed, AuthUserAddResponse.Parser, context);
    }

    public override async Task<AuthUserGetResponse> UserGet(AuthUserGetRequest request, ServerCallContext context) => await ReadAsync(
        context,
        caller =>
        {
            EtcdError? refusal = AuthErrors.Of(Table.JudgeAdministrator(caller));
            Refuse((caller.Name ?? "") == request.Name ? null : refusal);
            AuthUser user = Table.FindUser(request.Name) ?? throw EtcdError.UserNotFound.ToException();
            AuthUserGetResponse response = new() { Header = Header() };
            response.Roles.AddRange(user.Roles);
            return response;
        });

    public override async Task<AuthUserListResponse> UserList(AuthUserListRequest request, ServerCallContext context) => await ReadAsync(
        context,
        caller =>
        {
            Refuse(AuthErrors.Of(Table.JudgeAdministrator(caller)));
            AuthUserListResponse response = new() { Header = Header() };
            response.Users.AddRange(Table.Users.Select(static u => u.Name));
            return response;
        });

    public override Task<AuthUserDeleteResponse> UserDelete(AuthUserDeleteRequest request, ServerCallContext context) =>
        ChangeAsync(CommandKind.UserDelete, request, AuthUserDeleteResponse.Parser, context);

    public override async Task<AuthUserChangePasswordResponse> UserChangePassword(
        AuthUserChangePasswordRequest request, ServerCallContext context)
    {
        AuthUserChangePasswordRequest hashed = request.Clone();
        if (request.Password.Length > 0)
        {
            hashed.HashedPassword = await Passwords.HashAsync(request.Password, authenticator.Settings.BcryptCost, context.CancellationToken);
            hashed.Password = "";
        }

        return await ChangeAsync(CommandKind.UserChangePassword, hashed, AuthUserChangePasswordResponse.Parser, context);
    }

    public override Task<AuthUserGrantRoleResponse> UserGrantRole(AuthUserGrantRoleRequest request, ServerCallContext context) =>
        ChangeAsync(CommandKind.UserGrantRole, request, AuthUserGrantRoleResponse.Parser, context);

    public override Task<AuthUserRevokeRoleResponse> UserRevokeRole(AuthUserRevokeRoleRequest request, ServerCallContext context) =>
        ChangeAsync(CommandKind.UserRevokeRole, request, AuthUserRevokeRoleResponse.Parser, context);

    public override Task<AuthRoleAddResponse> RoleAdd(AuthRoleAddRequest request, ServerCallContext context) =>
        ChangeAsync(CommandKind.RoleAdd, request, AuthRoleAddResponse.Parser, context);

    public override async Task<AuthRoleGetResponse> RoleGet(AuthRoleGetRequest request, ServerCallContext context) => await ReadAsync(
        context,
        caller =>
        {
            bool own = caller.Name is not null && Table.FindUser(caller.Name)?.HasRole(request.Role) == true;
            EtcdError? refusal = AuthErrors.Of(Table.JudgeAdministrator(caller));
            Refuse(own ? null : refusal);
            AuthRole role = Table.FindRole(request.Role) ?? throw EtcdError.RoleNotFound.ToException();
            AuthRoleGetResponse response = new() { Header = Header() };
            response.Perm.AddRange(role.Name == AuthTable.Root
                ? [new Permission { PermType = Permission.Types.Type.Readwrite, RangeEnd = ByteString.CopyFrom(0) }]
                : role.Permissions.Select(AuthRecordsCodec.ToMessage));
            return response;
        });

    public override async Task<AuthRoleListResponse> RoleList(AuthRoleListRequest request, ServerCallContext context) => await ReadAsync(
        context,
        caller =>
        {
            Refuse(AuthErrors.Of(Table.JudgeAdministrator(caller)));
            AuthRoleListResponse response = new() { Header = Header() };
            response.Roles.AddRange(Table.Roles.Select(static r => r.Name));
            return response;
        });

    public override Task<AuthRoleDeleteResponse> RoleDelete(AuthRoleDeleteRequest request, ServerCallContext context) =>
        ChangeAsync(CommandKind.RoleDelete, request, AuthRoleDeleteResponse.Parser, context);

    public override Task<AuthRoleGrantPermissionResponse> RoleGrantPermission(
        AuthRoleGrantPermissionRequest request, ServerCallContext context) =>
        ChangeAsync(CommandKind.RoleGrantPermission, request, AuthRoleGrantPermissionResponse.Parser, context);

    public override Task<AuthRoleRevokePermissionResponse> RoleRevokePermission(
        AuthRoleRevokePermissionRequest request, ServerCallContext context) =>
        ChangeAsync(CommandKind.RoleRevokePermission, request, AuthRoleRevokePermissionResponse.Parser, context);

    private static void Refuse(EtcdError? error)
    {
        if (error is not null)
        {
            throw error.ToException();
        }
    }

    private (EtcdError? Error, byte[] Hash, ulong Revision) FindPassword(string name)
    {
        AuthUser? user = Table.FindUser(name);
        EtcdError? error = !Table.Enabled ? EtcdError.AuthNotEnabled
            : user is null ? EtcdError.AuthFailed
            : user.NoPassword ? EtcdError.NoPasswordUser
            : null;
        return (error, user?.PasswordHash ?? [], Table.Revision);
    }

    private async Task<AuthenticateResponse> GiveTokenAsync(string user, ulong revision, ServerCallContext context)
    {
        switch (authenticator.Settings.Tokens)
        {
            case TokenKind.Simple:
                // Every member learns it, so that it is good at each of them.
                TokenGrant grant = new() { User = user, Prefix = RandomNumberGenerator.GetString(TokenLetters, TokenPrefixLength) };
                return await ProposeAsync(CommandKind.TokenGrant, grant, AuthenticateResponse.Parser, default, context);
            case TokenKind.Jwt:
                string token = authenticator.Settings.Jwt!.Sign(user, revision, host.Time.GetUtcNow()) ?? throw EtcdError.VerifyOnly.ToException();
                return new AuthenticateResponse { Header = host.Reading(Header), Token = token };
            default:
                throw EtcdError.AuthFailed.ToException();
        }
    }

    private async Task<T> ReadAsync<T>(ServerCallContext context, Func<Caller, T> read)
    {
        Caller caller = await authenticator.IdentifyAsync(context);
        Refuse(await host.ReadBarrierAsync(context.CancellationToken));
        return host.Reading(() => read(caller));
    }

    private async Task<T> ChangeAsync<T>(CommandKind kind, IMessage request, MessageParser<T> parser, ServerCallContext context)
        where T : IMessage<T> => await ProposeAsync(kind, request, parser, await authenticator.IdentifyAsync(context), context);

    private async Task<T> ProposeAsync<T>(CommandKind kind, IMessage request, MessageParser<T> parser, Caller caller, ServerCallContext context)
        where T : IMessage<T> => parser.ParseFrom((await proposer.ProposeAsync(kind, request, caller, context.CancellationToken)).Span);

    private ResponseHeader Header() => host.Header.ToMessage(host.Store.Revision);
}
