using Kapell.ApiServer.Authentication;
using Kapell.ApiServer.OpenApi;
using Kapell.Base;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Http;

/// <summary>Names every part of the server: the one place where authenticators, authorizers, admission and endpoints are put together.</summary>
public static class ServerComposition
{
    public static ServerParts Compose(ServerContext context)
    {
        ServerParts parts = new();
        SecurityComposition.AddTo(parts, context, new CertificateAuthenticator());
        parts.Paths.AddRange(OpenApiEndpoint.All(new OpenApiDocuments(BuiltinSchemas.Set, context.Resources.All), context.Time));
        return parts;
    }
}

/// <summary>The client certificate's subject: CN is the user, each O a group. The TLS layer has verified it against --client-ca-file.</summary>
internal sealed class CertificateAuthenticator : IAuthenticator
{
    public ValueTask<AuthenticationResult> AuthenticateAsync(HttpContext context, CancellationToken cancel)
    {
        if (context.Connection.ClientCertificate is not { } certificate)
        {
            return ValueTask.FromResult(AuthenticationResult.NotMine);
        }

        CertificateSubject subject = CertificateSubject.Of(certificate);
        return ValueTask.FromResult(subject.CommonName.Length == 0
            ? AuthenticationResult.NotMine
            : AuthenticationResult.Of(new UserInfo { Name = subject.CommonName, Groups = [.. subject.Organizations] }));
    }
}
