using System.Buffers.Text;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Base;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Controllers.ServiceAccounts;
using Kapell.Controllers.Shared;
using Kapell.Kube.Tests.Client;
using Kapell.Machinery;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace Kapell.Kube.Tests.Controllers;

public sealed class TokenAndRevisionTests
{
    private static readonly KubeObject Account = Doc.Of("""{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"robot","namespace":"ns","uid":"r1"}}""");

    [Theory]
    [InlineData(false, "RS256")]
    [InlineData(true, "ES256")]
    public void A_token_secret_is_filled_with_a_token_that_the_key_signed(bool elliptic, string algorithm)
    {
        using RSA rsa = RSA.Create(2048);
        using ECDsa ecdsa = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        TokenSigner signer = new(elliptic ? ecdsa.ExportPkcs8PrivateKeyPem() : rsa.ExportPkcs8PrivateKeyPem());
        JsonObject filled = TokenSecret.Fill(Secret(""), Account, "CA"u8.ToArray(), signer)!;
        Assert.Equal("CA", Text(filled, "ca.crt"));
        Assert.Equal("ns", Text(filled, "namespace"));
        Assert.Equal("r1", filled["metadata"]!["annotations"]!["kubernetes.io/service-account.uid"]!.ToString());
        string[] parts = Text(filled, "token").Split('.');
        JsonElement claims = JsonDocument.Parse(Base64Url.DecodeFromChars(parts[1])).RootElement;
        Assert.Equal(algorithm, JsonDocument.Parse(Base64Url.DecodeFromChars(parts[0])).RootElement.Text("alg"));
        Assert.Equal(("kubernetes/serviceaccount", "system:serviceaccount:ns:robot", "s"),
            (claims.Text("iss"), claims.Text("sub"), claims.Text("kubernetes.io/serviceaccount/secret.name")));
        byte[] data = Encoding.ASCII.GetBytes(parts[0] + "." + parts[1]), signature = Base64Url.DecodeFromChars(parts[2]);
        Assert.True(elliptic
            ? ecdsa.VerifyData(data, signature, HashAlgorithmName.SHA256)
            : rsa.VerifyData(data, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));
    }

    [Fact]
    public void A_token_that_is_there_is_kept()
    {
        using RSA rsa = RSA.Create(2048);
        TokenSigner signer = new(rsa.ExportPkcs8PrivateKeyPem());
        Assert.Null(TokenSecret.Fill(Secret("\"token\":\"dA==\",\"namespace\":\"bnM=\",\"ca.crt\":\"Q0E=\""), Account, "CA"u8.ToArray(), signer));
        JsonObject renewed = TokenSecret.Fill(Secret("\"token\":\"dA==\",\"namespace\":\"bnM=\",\"ca.crt\":\"b2xk\""), Account, "CA"u8.ToArray(), signer)!;
        Assert.Equal(("t", "CA"), (Text(renewed, "token"), Text(renewed, "ca.crt")));
    }

    [Fact]
    public async Task A_revision_whose_name_is_taken_by_another_template_gets_the_next_name()
    {
        List<string> names = [];
        FakeServer server = new((request, body) =>
        {
            if (request.Method == HttpMethod.Get)
            {
                return FakeServer.Json("""{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"x","uid":"x"},"data":{"spec":{"template":{"other":1}}},"revision":1}""");
            }

            JsonObject sent = JsonNode.Parse(body)!.AsObject();
            names.Add(sent["metadata"]!["name"]!.ToString());
            return names.Count == 1
                ? FakeServer.Json("""{"kind":"Status","status":"Failure","reason":"AlreadyExists","code":409}""", HttpStatusCode.Conflict)
                : FakeServer.Json(body, HttpStatusCode.Created);
        });
        FakeTimeProvider time = new();
        KubeClient client = server.Client(time);
        Informer revisions = new(client, Resources.ControllerRevisions, InformerOptions.Everything, time, new Prng(1), NullLogger.Instance);
        revisions.AddIndex(Owners.ControllerIndexName, Owners.ControllerIndex);
        KubeObject set = Doc.Of("""
            {"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"d","namespace":"ns","uid":"d1"},
             "spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}},"status":{}}
            """);
        RevisionHistory history = new(client, Resources.DaemonSets, revisions, "controller-revision-hash");
        RevisionState state = await history.SyncAsync(set, LabelMatch.Of(set.Spec.Get("selector")), TestContext.Current.CancellationToken);
        Assert.Equal(1, state.Collisions);
        Assert.Equal(2, names.Distinct().Count());
        Assert.Equal(1, RevisionHistory.Number(state.Update));
        Assert.True(RevisionHistory.Matches(state.Update, RevisionHistory.Patch(set.Spec.Get("template"))));
        Assert.Equal("c", RevisionHistory.Template(state.Update)["spec"]!["containers"]![0]!["name"]!.ToString());
    }

    private static KubeObject Secret(string data) => Doc.Of($$$"""
        {"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"ns","uid":"s1","annotations":{"kubernetes.io/service-account.name":"robot"}},
         "type":"kubernetes.io/service-account-token","data":{ {{{data}}} } }
        """);

    private static string Text(JsonObject secret, string key) => Encoding.UTF8.GetString(Convert.FromBase64String(secret["data"]![key]!.ToString()));
}
