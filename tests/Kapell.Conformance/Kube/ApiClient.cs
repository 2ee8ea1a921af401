using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;

namespace Kapell.Conformance.Kube;

/// <summary>Speaks plain HTTPS as one user, so that tests see the very bytes.</summary>
internal sealed class ApiClient : IDisposable
{
    public const string MergePatch = "application/merge-patch+json";
    public const string JsonPatch = "application/json-patch+json";
    public const string StrategicPatch = "application/strategic-merge-patch+json";
    public const string ApplyPatch = "application/apply-patch+yaml";
    private readonly HttpClient _http;

    public ApiClient(Uri server, X509Certificate2? certificate, X509Certificate2 authority)
    {
        SocketsHttpHandler handler = new() { PooledConnectionIdleTimeout = TimeSpan.FromMinutes(5), AutomaticDecompression = DecompressionMethods.None };
        if (certificate is not null)
        {
            handler.SslOptions.ClientCertificates = [certificate];
            handler.SslOptions.LocalCertificateSelectionCallback = (_, _, _, _, _) => certificate;
        }

        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust, CustomTrustStore = { authority }, RevocationMode = X509RevocationMode.NoCheck,
        };
        _http = new HttpClient(handler) { BaseAddress = server, Timeout = TimeSpan.FromSeconds(60) };
    }

    public Task<Answer> Get(string path, string accept = "application/json") => Send("GET", path, null, accept: accept);

    public Task<Answer> Post(string path, string body) => Send("POST", path, body);

    public Task<Answer> Put(string path, string body) => Send("PUT", path, body);

    public Task<Answer> Delete(string path, string? body = null) => Send("DELETE", path, body);

    public Task<Answer> Patch(string path, string type, string body) => Send("PATCH", path, body, type);

    public Task<Answer> Apply(string path, string manager, string body, bool force = false) =>
        Send("PATCH", $"{path}?fieldManager={manager}{(force ? "&force=true" : "")}", body, ApplyPatch);

    public async Task<Answer> Send(
        string method, string path, string? body, string? type = "application/json", string accept = "application/json", params (string Name, string Value)[] headers)
    {
        using HttpRequestMessage request = Request(method, path, accept, headers);
        if (body is not null)
        {
            request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
            request.Content.Headers.ContentType = type is null ? null : MediaTypeHeaderValue.Parse(type);
        }

        using HttpResponseMessage response = await _http.SendAsync(request);
        string text = await response.Content.ReadAsStringAsync();
        Dictionary<string, string[]> found = response.Headers.Concat(response.Content.Headers)
            .ToDictionary(h => h.Key, h => h.Value.ToArray(), StringComparer.OrdinalIgnoreCase);
        return new Answer((int)response.StatusCode, text, found, $"{method} {path}");
    }

    /// <summary>Opens a watch; a code other than 200 is a failure of the test.</summary>
    public async Task<WatchReader> Watch(string path, string accept = "application/json")
    {
        using HttpRequestMessage request = Request("GET", path, accept, []);
        HttpResponseMessage response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        if (response.StatusCode != HttpStatusCode.OK)
        {
            throw new InvalidOperationException($"watch {path}: {(int)response.StatusCode}: {await response.Content.ReadAsStringAsync()}");
        }

        return new WatchReader(response, await response.Content.ReadAsStreamAsync());
    }

    public void Dispose() => _http.Dispose();

    private static HttpRequestMessage Request(string method, string path, string accept, (string Name, string Value)[] headers)
    {
        HttpRequestMessage request = new(new HttpMethod(method), path);
        request.Headers.TryAddWithoutValidation("Accept", accept);
        request.Headers.TryAddWithoutValidation("User-Agent", "conformance/1.0");
        foreach ((string name, string value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return request;
    }
}

/// <summary>The events of one watch, in order.</summary>
internal sealed class WatchReader(HttpResponseMessage response, Stream stream) : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private readonly StreamReader _lines = new(stream);

    /// <summary>The next event as <c>TYPE name</c> and its object.</summary>
    /// <exception cref="EndOfStreamException">The server ended the watch.</exception>
    public async Task<(string Type, JsonNode Object)> Next()
    {
        string line = await _lines.ReadLineAsync().WaitAsync(Patience) ?? throw new EndOfStreamException();
        JsonNode json = JsonNode.Parse(line)!;
        return ((string)json["type"]!, json["object"]!);
    }

    /// <summary>The next events as <c>TYPE name</c>.</summary>
    public async Task<string[]> Take(int count)
    {
        List<string> taken = [];
        for (int i = 0; i < count; i++)
        {
            (string type, JsonNode obj) = await Next();
            taken.Add($"{type} {Answer.At(obj, "metadata.name")}");
        }

        return [.. taken];
    }

    /// <summary>Demands that the server ends the watch without another event.</summary>
    public async Task<bool> Ends() => await _lines.ReadLineAsync().WaitAsync(Patience) is null;

    public void Dispose()
    {
        _lines.Dispose();
        response.Dispose();
    }
}
