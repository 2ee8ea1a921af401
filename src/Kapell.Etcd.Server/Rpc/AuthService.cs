using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Authentication by users and roles is off and has no users; what that means is answered as etcd answers it then.</summary>
public sealed class AuthService(ReplicaHost host) : Auth.AuthBase
{
    private const string Refusal = "etcdserver: users and roles are not supported by this version of Kapell: use client certificates";

    public override Task<AuthStatusResponse> AuthStatus(AuthStatusRequest request, ServerCallContext context) =>
        Task.FromResult(new AuthStatusResponse { Header = Header(), Enabled = false, AuthRevision = 1 });

    public override Task<AuthDisableResponse> AuthDisable(AuthDisableRequest request, ServerCallContext context) =>
        Task.FromResult(new AuthDisableResponse { Header = Header() });

    public override Task<AuthUserListResponse> UserList(AuthUserListRequest request, ServerCallContext context) =>
        Task.FromResult(new AuthUserListResponse { Header = Header() });

    public override Task<AuthRoleListResponse> RoleList(AuthRoleListRequest request, ServerCallContext context) =>
        Task.FromResult(new AuthRoleListResponse { Header = Header() });

    public override Task<AuthEnableResponse> AuthEnable(AuthEnableRequest request, ServerCallContext context) =>
        throw EtcdError.RootUserNotExist.ToException();

    public override Task<AuthenticateResponse> Authenticate(AuthenticateRequest request, ServerCallContext context) =>
        throw EtcdError.AuthNotEnabled.ToException();

    public override Task<AuthUserGetResponse> UserGet(AuthUserGetRequest request, ServerCallContext context) =>
        throw EtcdError.UserNotFound.ToException();

    public override Task<AuthUserDeleteResponse> UserDelete(AuthUserDeleteRequest request, ServerCallContext context) =>
        throw EtcdError.UserNotFound.ToException();

    public override Task<AuthUserChangePasswordResponse> UserChangePassword(
        AuthUserChangePasswordRequest request, ServerCallContext context) => throw EtcdError.UserNotFound.ToException();

    public override Task<AuthUserGrantRoleResponse> UserGrantRole(AuthUserGrantRoleRequest request, ServerCallContext context) =>
        throw EtcdError.UserNotFound.ToException();

    public override Task<AuthUserRevokeRoleResponse> UserRevokeRole(AuthUserRevokeRoleRequest request, ServerCallContext context) =>
        throw EtcdError.UserNotFound.ToException();

    public override Task<AuthRoleGetResponse> RoleGet(AuthRoleGetRequest request, ServerCallContext context) =>
        throw EtcdError.RoleNotFound.ToException();

    public override Task<AuthRoleDeleteResponse> RoleDelete(AuthRoleDeleteRequest request, ServerCallContext context) =>
        throw EtcdError.RoleNotFound.ToException();

    public override Task<AuthRoleGrantPermissionResponse> RoleGrantPermission(
        AuthRoleGrantPermissionRequest request, ServerCallContext context) => throw EtcdError.RoleNotFound.ToException();

    public override Task<AuthRoleRevokePermissionResponse> RoleRevokePermission(
        AuthRoleRevokePermissionRequest request, ServerCallContext context) => throw EtcdError.RoleNotFound.ToException();

    public override Task<AuthUserAddResponse> UserAdd(AuthUserAddRequest request, ServerCallContext context) => throw Refused();

    public override Task<AuthRoleAddResponse> RoleAdd(AuthRoleAddRequest request, ServerCallContext context) => throw Refused();

    private static RpcException Refused() => new(new Status(StatusCode.Unimplemented, Refusal));

    private ResponseHeader Header() => host.Header.ToMessage(host.Store.Revision);
}
