using System.Globalization;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Rpc.Authentication;

/// <summary>
/// Finds out who calls, by token or certificate, and what needs no look at the keys: whether it is anybody, or an administrator.
/// All of it costs nothing while users are not enabled. etcd: auth/store.go AuthInfoFromCtx, v3_server.go requireAuthInfo
/// </summary>
public sealed class Authenticator
{
    private readonly ReplicaHost _host;

    internal Authenticator(ReplicaHost host, AuthSettings settings) => (_host, Settings) = (host, settings);

    internal AuthSettings Settings { get; }

    public bool Enabled => _host.Replica.Applier.Auth.Enabled;

    /// <summary>Nobody, when users are not enabled or the call carries no credentials.</summary>
    /// <exception cref="RpcException">It carries a token that is not good.</exception>
    public ValueTask<Caller> IdentifyAsync(ServerCallContext context) => Enabled ? new ValueTask<Caller>(FindAsync(context)) : default;

    /// <summary>Refuses who is not anybody.</summary>
    public async Task RequireCallerAsync(ServerCallContext context)
    {
        if (Enabled && (await FindAsync(context)).IsNobody)
        {
            throw EtcdError.UserEmpty.ToException();
        }
    }

    /// <summary>Refuses who has not the role root.</summary>
    public async Task RequireAdministratorAsync(ServerCallContext context)
    {
        if (!Enabled)
        {
            return;
        }

        Caller caller = await FindAsync(context);
        if (AuthErrors.Of(_host.Reading(() => _host.Replica.Applier.Auth.JudgeAdministrator(caller))) is { } refusal)
        {
            throw refusal.ToException();
        }
    }

    private async Task<Caller> FindAsync(ServerCallContext context)
    {
        string? token = context.RequestHeaders.GetValue("token") ?? context.RequestHeaders.GetValue("authorization");
        if (token is not null)
        {
            token = token.StartsWith("Bearer ", StringComparison.Ordinal) ? token["Bearer ".Length..] : token;
            return Settings.Tokens switch
            {
                TokenKind.Simple => await FindSimpleAsync(token, context.CancellationToken),
                TokenKind.Jwt => Settings.Jwt!.Verify(token, _host.Time.GetUtcNow()),
                _ => null,
            } ?? throw EtcdError.InvalidAuthToken.ToException();
        }

        // Behind the gateway the certificate would be the gateway's.
        bool gateway = context.RequestHeaders.Get("grpcgateway-accept") is not null;
        return Settings.UsesCertificates && !gateway && (context as ICallerCertificate)?.ClientCertificate is { } certificate
            ? new Caller(CertificateSubject.Of(certificate).CommonName, _host.Replica.Applier.Auth.Revision)
            : default;
    }

    /// <summary>The token ends in the index of the entry that made it: this member may not have applied that yet.</summary>
    private async Task<Caller?> FindSimpleAsync(string token, CancellationToken cancellation)
    {
        int dot = token.IndexOf('.', StringComparison.Ordinal);
        if (dot < 0 || !ulong.TryParse(token.AsSpan(dot + 1), NumberStyles.None, CultureInfo.InvariantCulture, out ulong index))
        {
            return null;
        }

        if (index > _host.Replica.AppliedPosition.Index.Value && await _host.ReadBarrierAsync(cancellation) is { } error)
        {
            throw error.ToException();
        }

        return _host.Replica.Applier.Tokens.Find(token, _host.NowMilliseconds) is { } user
            ? new Caller(user, _host.Replica.Applier.Auth.Revision)
            : null;
    }
}
