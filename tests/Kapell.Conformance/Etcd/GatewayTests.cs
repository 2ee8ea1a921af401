using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Grpc.Core;
using Kapell.Etcd.Protocol.GrpcHealth;
using Kapell.Etcd.Protocol.GrpcReflection;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>The API as JSON over HTTP, and the services of gRPC that tools know every server by.</summary>
public sealed partial class GatewayTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Path and body, in this order; keys and values are base64.</summary>
    private static readonly (string Path, string Body)[] Session =
    [
        ("kv/put", """{"key":"Zm9v","value":"YmFy"}"""), ("kv/put", """{"key":"Zm9v","value":"YmFyMg==","prev_kv":true}"""), ("kv/range", """{"key":"Zm9v"}"""),
        ("kv/range", """{"key":"AA==","range_end":"AA==","sort_order":"DESCEND","sort_target":"MOD","limit":"1","unknown":[1,{"a":2}]}"""),
        ("kv/range", """{"key":"Zm9v","sort_order":1,"countOnly":true}"""), ("kv/range", """{"key":""}"""), ("kv/range", ""), ("kv/range", """{"key":"Zm9v","revision":"99"}"""),
        ("kv/txn", """{"compare":[{"key":"Zm9v","target":"VERSION","version":"2"}],"success":[{"request_put":{"key":"Zm9v","value":"<&>"}}]}""".Replace("<&>", "PCY+", StringComparison.Ordinal)),
        ("kv/txn", """{"compare":[{"key":"Zm9v","result":"GREATER","target":"CREATE","createRevision":0}],"success":[{"requestRange":{"key":"Zm9v"}}],"failure":[]}"""),
        ("kv/txn", """{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}"""), ("kv/deleterange", """{"key":"Zm9v","prev_kv":true}"""), ("kv/compaction", """{"revision":3}"""),
        ("kv/compaction", """{"revision":3}"""), ("lease/grant", """{"TTL":"100","ID":"77"}"""), ("lease/grant", """{"TTL":100,"ID":77}"""), ("lease/timetolive", """{"ID":"78"}"""),
        ("lease/leases", "{}"), ("lease/revoke", """{"ID":"77"}"""), ("lease/revoke", """{"ID":"77"}"""), ("cluster/member/list", "{}"),
        ("maintenance/hash", "{"), ("auth/user/add", """{"name":"u","password":"p"}"""), ("auth/user/list", "{}"), ("auth/role/get", """{"role":"none"}"""), ("auth/enable", "{}"),
        ("auth/authenticate", """{"name":"u","password":"p"}"""), ("lock/lock", """{"name":"bA==","lease":"5"}"""), ("election/leader", """{"name":"ZQ=="}"""),
        ("lease/keepalive", """{"ID":"7"}"""), ("lease/keepalive", """{"ID":"7"} {"ID":"8"}"""),
    ];

    [Fact]
    public async Task Every_path_answers_the_same()
    {
        using StoreProcess ours = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        using StoreProcess theirs = await StoreProcess.StartAsync(StoreKind.Upstream, Cancellation);
        foreach ((string path, string body) in Session)
        {
            (int status, string said) = await PostAsync(ours, path, body);
            (int expected, string known) = await PostAsync(theirs, path, body);

            // Older gateways said 412 for what newer ones say 400.
            expected = expected == 412 ? 400 : expected;

            // The words of what parses JSON are each program's own.
            bool parser = known.Contains("EOF", StringComparison.Ordinal);
            Assert.Equal($"{path} {body}: {expected} {(parser ? "" : InOrder(known))}", $"{path} {body}: {status} {(parser ? "" : InOrder(said))}");
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task An_empty_store_has_a_size(StoreKind kind)
    {
        using StoreProcess store = await StoreProcess.StartAsync(kind, Cancellation);
        using StringContent nothing = new("{}");
        using HttpResponseMessage response = await store.Http.PostAsync("/v3/maintenance/status", nothing, Cancellation);
        JsonElement status = JsonDocument.Parse(await response.Content.ReadAsStringAsync(Cancellation)).RootElement;
        foreach (string field in new[] { "version", "dbSize", "leader", "raftIndex", "raftTerm", "raftAppliedIndex", "dbSizeInUse" })
        {
            Assert.True(status.TryGetProperty(field, out _), $"{kind} says no {field}: {status}");
        }
    }

    [Theory]
    [InlineData("/debug/vars")]
    [InlineData("/version")]
    [InlineData("/health")]
    public async Task What_is_no_call_is_answered_over_both_versions_of_HTTP(string path)
    {
        using StoreProcess store = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        foreach (Version version in new[] { HttpVersion.Version11, HttpVersion.Version20 })
        {
            using HttpRequestMessage request = new(HttpMethod.Get, path) { Version = version, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
            using HttpResponseMessage response = await store.Http.SendAsync(request, Cancellation);
            using JsonDocument said = JsonDocument.Parse(await response.Content.ReadAsStringAsync(Cancellation));
            Assert.NotEmpty(said.RootElement.EnumerateObject());
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task A_watch_is_a_line_an_answer(StoreKind kind)
    {
        using StoreProcess store = await StoreProcess.StartAsync(kind, Cancellation);
        using StringContent body = new("""{"create_request":{"key":"dw==","start_revision":"1"}}""");
        using HttpRequestMessage request = new(HttpMethod.Post, "/v3/watch") { Content = body };
        using HttpResponseMessage response = await store.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancellation);
        using StreamReader lines = new(await response.Content.ReadAsStreamAsync(Cancellation));
        Assert.Equal("""{"result":{"header":{HEADER},"created":true}}""", AtRest(await lines.ReadLineAsync(Cancellation)));
        await PostAsync(store, "kv/put", """{"key":"dw==","value":"MQ=="}""");
        Assert.Equal(
            """{"result":{"header":{HEADER},"events":[{"kv":{"key":"dw==","create_revision":"2","mod_revision":"2","version":"1","value":"MQ=="}}]}}""",
            AtRest(await lines.ReadLineAsync(Cancellation)));

        // Not before: both may come in one answer.
        await PostAsync(store, "kv/deleterange", """{"key":"dw=="}""");
        Assert.Equal(
            """{"result":{"header":{HEADER},"events":[{"type":"DELETE","kv":{"key":"dw==","mod_revision":"3"}}]}}""", AtRest(await lines.ReadLineAsync(Cancellation)));
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task A_token_comes_in_the_header_of_authorization(StoreKind kind)
    {
        using StoreProcess store = await StoreProcess.StartAsync(kind, Cancellation);
        await PostAsync(store, "auth/user/add", """{"name":"root","password":"r"}""");
        await PostAsync(store, "auth/user/grant", """{"user":"root","role":"root"}""");
        await PostAsync(store, "auth/enable", "{}");
        (int status, string refused) = await PostAsync(store, "kv/put", """{"key":"YQ=="}""");
        Assert.Equal((400, true), (status, refused.Contains("\"message\":\"etcdserver: user name is empty\"", StringComparison.Ordinal)));
        (_, string login) = await PostAsync(store, "auth/authenticate", """{"name":"root","password":"r"}""");
        string token = Regex.Match(login, "\"token\":\"([^\"]+)\"").Groups[1].Value;
        Assert.Equal(200, (await PostAsync(store, "kv/put", """{"key":"YQ=="}""", token)).Status);
        (status, _) = await PostAsync(store, "kv/put", """{"key":"YQ=="}""", "wrong");
        Assert.Equal(401, status);
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task A_call_has_the_time_that_its_client_gives_it(StoreKind kind)
    {
        using StoreProcess store = await StoreProcess.StartAsync(kind, Cancellation);
        foreach ((string timeout, string path, string body, int status, string said) in new[]
        {
            ("1n", "kv/range", """{"key":"YQ=="}""", 504, "context deadline exceeded"), ("junk", "kv/range", "{}", 400, "invalid grpc-timeout: junk"),
            ("2S", "watch", """{"create_request":{"key":"YQ=="}}""", 200, "context deadline exceeded"), ("100S", "kv/range", """{"key":"YQ=="}""", 200, "raft_term"),
        })
        {
            using HttpRequestMessage request = new(HttpMethod.Post, "/v3/" + path) { Content = new StringContent(body) };
            request.Headers.Add("Grpc-Timeout", timeout);
            using HttpResponseMessage response = await store.Http.SendAsync(request, Cancellation);
            Assert.Equal((timeout, status), (timeout, (int)response.StatusCode));
            Assert.Contains(said, await response.Content.ReadAsStringAsync(Cancellation), StringComparison.Ordinal);
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Where_there_is_nothing_it_is_said_so(StoreKind kind)
    {
        using StoreProcess store = await StoreProcess.StartAsync(kind, Cancellation);
        foreach ((HttpMethod method, string path, int status, string said) in new[]
        {
            (HttpMethod.Get, "/nothing", 404, "404 page not found\n"), (HttpMethod.Put, "/health", 405, "Method Not Allowed\n"),
            (HttpMethod.Put, "/version", 405, "Method Not Allowed\n"),
        })
        {
            using HttpRequestMessage request = new(method, path);
            using HttpResponseMessage response = await store.Http.SendAsync(request, Cancellation);
            Assert.Equal((path, status, said), (path, (int)response.StatusCode, await response.Content.ReadAsStringAsync(Cancellation)));
            Assert.Equal("text/plain", response.Content.Headers.ContentType?.MediaType);
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Unknown_hosts_and_origins_are_kept_out(StoreKind kind)
    {
        using StoreProcess store = await StoreProcess.StartAsync(kind, Cancellation, null, "--host-whitelist", "127.0.0.1", "--cors", "http://good:81");
        using HttpRequestMessage foreign = new(HttpMethod.Get, "/version") { Headers = { Host = "evil" } };
        using HttpResponseMessage refused = await store.Http.SendAsync(foreign, Cancellation);
        Assert.Equal(HttpStatusCode.MisdirectedRequest, refused.StatusCode);
        Assert.Contains("--host-whitelist \"evil\"", await refused.Content.ReadAsStringAsync(Cancellation), StringComparison.Ordinal);
        foreach ((string origin, bool allowed) in new[] { ("http://good:81", true), ("http://bad", false) })
        {
            using HttpRequestMessage asked = new(HttpMethod.Options, "/v3/kv/put") { Headers = { { "Origin", origin } } };
            using HttpResponseMessage answer = await store.Http.SendAsync(asked, Cancellation);
            Assert.Equal((HttpStatusCode.OK, allowed), (answer.StatusCode, answer.Headers.Contains("Access-Control-Allow-Origin")));
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task The_health_service_says_that_it_serves(StoreKind kind)
    {
        using StoreClient store = new(await StoreProcess.StartAsync(kind, Cancellation));
        Health.HealthClient health = new(store.Channel);
        Assert.Equal(HealthCheckResponse.Types.ServingStatus.Serving, (await health.CheckAsync(new HealthCheckRequest(), cancellationToken: Cancellation)).Status);
        Assert.Equal("NotFound: unknown service", await StoreClient.RefusalAsync(health.CheckAsync(new HealthCheckRequest { Service = "x" }, cancellationToken: Cancellation)));
        using AsyncServerStreamingCall<HealthCheckResponse> watch = health.Watch(new HealthCheckRequest(), cancellationToken: Cancellation);
        Assert.True(await watch.ResponseStream.MoveNext(Cancellation));
        Assert.Equal(HealthCheckResponse.Types.ServingStatus.Serving, watch.ResponseStream.Current.Status);
    }

    [Fact]
    public async Task Reflection_lists_the_services_and_their_files()
    {
        using StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation));
        ServerReflection.ServerReflectionClient reflection = new(store.Channel);
        using AsyncDuplexStreamingCall<ServerReflectionRequest, ServerReflectionResponse> call = reflection.ServerReflectionInfo(cancellationToken: Cancellation);
        async Task<ServerReflectionResponse> Ask(ServerReflectionRequest request)
        {
            await call.RequestStream.WriteAsync(request, Cancellation);
            Assert.True(await call.ResponseStream.MoveNext(Cancellation));
            return call.ResponseStream.Current;
        }

        ServerReflectionResponse list = await Ask(new ServerReflectionRequest { ListServices = "" });
        Assert.Contains("etcdserverpb.KV", list.ListServicesResponse.Service.Select(static s => s.Name));
        ServerReflectionResponse file = await Ask(new ServerReflectionRequest { FileContainingSymbol = "etcdserverpb.KV.Range" });
        Assert.True(file.FileDescriptorResponse.FileDescriptorProto.Count > 1);
        ServerReflectionResponse none = await Ask(new ServerReflectionRequest { FileContainingSymbol = "no.Such" });
        Assert.Equal((int)StatusCode.NotFound, none.ErrorResponse.ErrorCode);
    }

    internal static async Task<(int Status, string Said)> PostAsync(StoreProcess store, string path, string body, string? token = null)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, "/v3/" + path) { Content = new StringContent(body, Encoding.UTF8, "application/json") };
        if (token is not null)
        {
            request.Headers.TryAddWithoutValidation("Authorization", token);
        }

        using HttpResponseMessage response = await store.Http.SendAsync(request, Cancellation);
        return ((int)response.StatusCode, AtRest(await response.Content.ReadAsStringAsync(Cancellation)));
    }

    /// <summary>Refusals have the same fields in an order that changed from version to version.</summary>
    internal static string InOrder(string said)
    {
        if (!said.StartsWith("{\"error\":\"", StringComparison.Ordinal))
        {
            return said;
        }

        using JsonDocument refusal = JsonDocument.Parse(said);
        return string.Join(' ', refusal.RootElement.EnumerateObject().OrderBy(static f => f.Name, StringComparer.Ordinal).Select(static f => $"{f.Name}={f.Value}"));
    }

    internal static string AtRest(string? said) => Urls().Replace(Header().Replace(said ?? "", "\"header\":{HEADER}"), "\"URL\"");

    [GeneratedRegex("\"header\":\\{[^}]*\\}")]
    private static partial Regex Header();

    [GeneratedRegex("\"http://127[^\"]*\"")]
    private static partial Regex Urls();
}
