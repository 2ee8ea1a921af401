using Google.Protobuf;
using Google.Protobuf.Collections;
using Kapell.Etcd.Protocol;
using Kapell.Mvcc;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Replication;

/// <summary>
/// Judges what a caller may do, at the place of the log where it would be done: before it is carried out, and for reads before they are
/// answered. etcd: etcdserver/apply/auth.go
/// </summary>
internal sealed class AuthGate(AuthTable table, MvccStore store)
{
    public EtcdError? Judge(IMessage request, in Caller caller) => !table.Enabled ? null : AuthErrors.Of(request switch
    {
        PutRequest put => Put(put, caller),
        DeleteRangeRequest delete => Delete(delete, caller),
        TxnRequest txn => Txn(txn, caller),
        LeaseRevokeRequest revoke => WriteLease(revoke.ID, caller),
        AuthEnableRequest or AuthDisableRequest or AuthUserAddRequest or AuthUserDeleteRequest or AuthUserChangePasswordRequest
            or AuthUserGrantRoleRequest or AuthUserRevokeRoleRequest or AuthRoleAddRequest or AuthRoleDeleteRequest
            or AuthRoleGrantPermissionRequest or AuthRoleRevokePermissionRequest => table.JudgeAdministrator(caller),
        RangeRequest range => table.JudgeRead(caller, range.Key.Span, range.RangeEnd.Span),
        _ => AuthRefusal.None,
    });

    /// <summary>All keys of a lease may be read.</summary>
    public EtcdError? JudgeLeaseRead(long lease, in Caller caller) => AuthErrors.Of(Lease(lease, caller, writes: false));

    /// <summary>All keys of a lease may be written: who may not revoke it may not prolong it either.</summary>
    public EtcdError? JudgeLeaseWrite(long lease, in Caller caller) => AuthErrors.Of(WriteLease(lease, caller));

    private AuthRefusal Put(PutRequest request, in Caller caller)
    {
        AuthRefusal refusal = table.JudgeWrite(caller, request.Key.Span, default);
        if (refusal == AuthRefusal.None)
        {
            refusal = WriteLease(request.Lease, caller);
        }

        return refusal == AuthRefusal.None && request.PrevKv ? table.JudgeRead(caller, request.Key.Span, default) : refusal;
    }

    private AuthRefusal Delete(DeleteRangeRequest request, in Caller caller)
    {
        AuthRefusal refusal = table.JudgeWrite(caller, request.Key.Span, request.RangeEnd.Span);
        return refusal == AuthRefusal.None && request.PrevKv ? table.JudgeRead(caller, request.Key.Span, request.RangeEnd.Span) : refusal;
    }

    /// <summary>Both branches, whichever will be taken; a comparison reads.</summary>
    private AuthRefusal Txn(TxnRequest request, in Caller caller)
    {
        foreach (Compare compare in request.Compare)
        {
            AuthRefusal refusal = table.JudgeRead(caller, compare.Key.Span, compare.RangeEnd.Span);
            if (refusal != AuthRefusal.None)
            {
                return refusal;
            }
        }

        AuthRefusal success = Operations(request.Success, caller);
        return success == AuthRefusal.None ? Operations(request.Failure, caller) : success;
    }

    private AuthRefusal Operations(RepeatedField<RequestOp> operations, in Caller caller)
    {
        foreach (RequestOp op in operations)
        {
            AuthRefusal refusal = op.RequestCase switch
            {
                RequestOp.RequestOneofCase.RequestRange => table.JudgeRead(caller, op.RequestRange.Key.Span, op.RequestRange.RangeEnd.Span),
                RequestOp.RequestOneofCase.RequestPut => Put(op.RequestPut, caller),
                RequestOp.RequestOneofCase.RequestDeleteRange => Delete(op.RequestDeleteRange, caller),
                RequestOp.RequestOneofCase.RequestTxn => Txn(op.RequestTxn, caller),
                _ => AuthRefusal.None,
            };
            if (refusal != AuthRefusal.None)
            {
                return refusal;
            }
        }

        return AuthRefusal.None;
    }

    private AuthRefusal WriteLease(long lease, in Caller caller) => lease == 0 ? AuthRefusal.None : Lease(lease, caller, writes: true);

    private AuthRefusal Lease(long lease, in Caller caller, bool writes)
    {
        if (table.JudgeAdministrator(caller) == AuthRefusal.None)
        {
            return AuthRefusal.None;
        }

        foreach (byte[] key in store.KeysOfLease(lease))
        {
            AuthRefusal refusal = writes ? table.JudgeWrite(caller, key, default) : table.JudgeRead(caller, key, default);
            if (refusal != AuthRefusal.None)
            {
                return refusal;
            }
        }

        return AuthRefusal.None;
    }
}

/// <summary>Refusals as the protocol says them.</summary>
internal static class AuthErrors
{
    public static EtcdError? Of(AuthRefusal refusal) => refusal switch
    {
        AuthRefusal.None => null,
        AuthRefusal.RootUserNotExist => EtcdError.RootUserNotExist,
        AuthRefusal.RootRoleNotExist => EtcdError.RootRoleNotExist,
        AuthRefusal.UserExists => EtcdError.UserExists,
        AuthRefusal.UserEmpty => EtcdError.UserEmpty,
        AuthRefusal.UserNotFound => EtcdError.UserNotFound,
        AuthRefusal.RoleExists => EtcdError.RoleExists,
        AuthRefusal.RoleNotFound => EtcdError.RoleNotFound,
        AuthRefusal.RoleEmpty => EtcdError.RoleEmpty,
        AuthRefusal.PermissionNotGiven => EtcdError.PermissionNotGiven,
        AuthRefusal.Failed => EtcdError.AuthFailed,
        AuthRefusal.PermissionDenied => EtcdError.PermissionDenied,
        AuthRefusal.RoleNotGranted => EtcdError.RoleNotGranted,
        AuthRefusal.PermissionNotGranted => EtcdError.PermissionNotGranted,
        AuthRefusal.NotEnabled => EtcdError.AuthNotEnabled,
        AuthRefusal.OldRevision => EtcdError.AuthOldRevision,
        AuthRefusal.InvalidManagement => EtcdError.InvalidAuthManagement,
        AuthRefusal.BadPasswordHash => EtcdError.NoPasswordUser,
        _ => throw new ArgumentOutOfRangeException(nameof(refusal)),
    };
}
