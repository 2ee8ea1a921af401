using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kapell.Client;

/// <summary>
/// A client of one Kubernetes API server over JSON. Safe for concurrent use; connections are shared by all requests and watches.
/// </summary>
/// <remarks>
/// A refusal by the server is a <see cref="StatusException"/> with the server's own Status; a failure to talk to it is an
/// <see cref="HttpRequestException"/>; a request over its time is a <see cref="TimeoutException"/>. Answers 429 and 5xx that carry
/// Retry-After are tried again (at most ten times) for GET, PUT and DELETE only: whatever else may have happened stays the caller's to judge.
/// </remarks>
public sealed class KubeClient : IDisposable
{
    private const int AttemptsMax = 10;
    private const int ErrorBodyBytesMax = 4 * 1024 * 1024;
    private static readonly TimeSpan RetryAfterMax = TimeSpan.FromSeconds(60);
    private static readonly MediaTypeWithQualityHeaderValue Json = new("application/json");
    private readonly HttpClient _http;
    private readonly Credentials _credentials;
    private readonly RequestLimiter? _limiter;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly string _prefix;
    private readonly bool _ownsHandler;
    private readonly HttpMessageHandler _handler;

    public KubeClient(RestConfig config, TimeProvider time, ILoggerFactory? logs = null)
        : this(config, Transport.Open(config), time, logs)
    {
        _ownsHandler = true;
    }

    /// <summary>Over a handler of the caller's: a test's, or an in-process transport.</summary>
    public KubeClient(RestConfig config, HttpMessageHandler handler, TimeProvider time, ILoggerFactory? logs = null)
    {
        Config = config;
        _time = time;
        _log = (logs ?? NullLoggerFactory.Instance).CreateLogger("Kapell.Client");
        _credentials = new Credentials(config, time);
        _limiter = config.Qps > 0 ? new RequestLimiter(config.Qps, config.Burst, time) : null;
        _prefix = config.Server.AbsolutePath.TrimEnd('/');
        _handler = handler;
        _http = new HttpClient(handler, disposeHandler: false) { BaseAddress = new Uri(config.Server.GetLeftPart(UriPartial.Authority)), Timeout = Timeout.InfiniteTimeSpan };
    }

    public RestConfig Config { get; }

    /// <summary>The connections of a configuration, for several clients that differ in user agent only. The caller disposes it last.</summary>
    public static HttpMessageHandler OpenTransport(RestConfig config) => Transport.Open(config);

    public Task<KubeObject> GetAsync(GroupVersionResource resource, ObjectKey key, CancellationToken cancellation) =>
        GetAsync(resource, key, RequestOptions.None, cancellation);

    public Task<KubeObject> GetAsync(GroupVersionResource resource, ObjectKey key, RequestOptions options, CancellationToken cancellation) =>
        ObjectAsync(HttpMethod.Get, resource, key, KubeUrls.Object(resource, key, options), default, null, cancellation);

    /// <summary>One page: as many items as <see cref="ListOptions.Limit"/> allows, with the token for the next.</summary>
    public async Task<KubeList> ListPageAsync(GroupVersionResource resource, string ns, ListOptions options, CancellationToken cancellation)
    {
        string accept = options.MetadataOnly ? KubeUrls.AcceptMetadataList : "application/json";
        byte[] body = await ReadAsync(HttpMethod.Get, KubeUrls.List(resource, ns, options), default, null, accept, resource, "", cancellation);
        return ResponseReading.List(body);
    }

    /// <summary>Everything: follows continue tokens when a limit is given. A token that expires half way is a 410 for the caller.</summary>
    public async Task<KubeList> ListAsync(GroupVersionResource resource, string ns, ListOptions options, CancellationToken cancellation)
    {
        KubeList page = await ListPageAsync(resource, ns, options, cancellation);
        if (page.Continue.Length == 0)
        {
            return page;
        }

        List<KubeObject> all = [.. page.Items];
        while (page.Continue.Length > 0)
        {
            // A continued list names its own resourceVersion inside the token (upstream: validated in list options).
            page = await ListPageAsync(resource, ns, options with { Continue = page.Continue, ResourceVersion = "", ResourceVersionMatch = "" }, cancellation);
            all.AddRange(page.Items);
        }

        return page with { Items = all };
    }

    public Task<KubeList> ListAsync(GroupVersionResource resource, string ns, CancellationToken cancellation) =>
        ListAsync(resource, ns, ListOptions.None, cancellation);

    public Task<KubeObject> CreateAsync(GroupVersionResource resource, string ns, KubeBody body, CancellationToken cancellation) =>
        CreateAsync(resource, new ObjectKey(ns, ""), body, RequestOptions.None, cancellation);

    /// <summary>Creates in a collection (empty name) or posts to a subresource of the named object (<c>binding</c>, <c>eviction</c>, <c>token</c>).</summary>
    public Task<KubeObject> CreateAsync(GroupVersionResource resource, ObjectKey key, KubeBody body, RequestOptions options, CancellationToken cancellation) =>
        ObjectAsync(HttpMethod.Post, resource, key, KubeUrls.Object(resource, key, options), body, "application/json", cancellation);

    public Task<KubeObject> UpdateAsync(GroupVersionResource resource, ObjectKey key, KubeBody body, CancellationToken cancellation) =>
        UpdateAsync(resource, key, body, RequestOptions.None, cancellation);

    public Task<KubeObject> UpdateAsync(GroupVersionResource resource, ObjectKey key, KubeBody body, RequestOptions options, CancellationToken cancellation) =>
        ObjectAsync(HttpMethod.Put, resource, key, KubeUrls.Object(resource, key, options), body, "application/json", cancellation);

    public Task<KubeObject> UpdateStatusAsync(GroupVersionResource resource, ObjectKey key, KubeBody body, CancellationToken cancellation) =>
        UpdateAsync(resource, key, body, RequestOptions.For("status"), cancellation);

    public Task<KubeObject> PatchAsync(GroupVersionResource resource, ObjectKey key, PatchKind kind, KubeBody body, CancellationToken cancellation) =>
        PatchAsync(resource, key, kind, body, RequestOptions.None, cancellation);

    public Task<KubeObject> PatchAsync(
        GroupVersionResource resource, ObjectKey key, PatchKind kind, KubeBody body, RequestOptions options, CancellationToken cancellation) =>
        ObjectAsync(HttpMethod.Patch, resource, key, KubeUrls.Object(resource, key, options), body, KubeUrls.PatchType(kind), cancellation);

    /// <summary>Deletes one object; the answer is the object when it lives on (grace period, finalizers), else a Status.</summary>
    public Task<KubeObject> DeleteAsync(GroupVersionResource resource, ObjectKey key, DeleteOptions options, CancellationToken cancellation) =>
        ObjectAsync(HttpMethod.Delete, resource, key, KubeUrls.Object(resource, key, RequestOptions.None), options.ToJson(), "application/json", cancellation);

    public Task DeleteCollectionAsync(
        GroupVersionResource resource, string ns, DeleteOptions options, ListOptions selection, CancellationToken cancellation) =>
        ReadAsync(HttpMethod.Delete, KubeUrls.List(resource, ns, selection), options.ToJson(), "application/json", "application/json", resource, "", cancellation);

    /// <summary>GET of any other path (<c>/apis</c>, <c>/version</c>), answered as a JSON object.</summary>
    public async Task<KubeObject> GetPathAsync(string pathAndQuery, CancellationToken cancellation) => new(
        await ReadAsync(HttpMethod.Get, pathAndQuery, default, null, "application/json", new GroupResource("", ""), "", cancellation));

    /// <summary>
    /// Watches from <see cref="ListOptions.ResourceVersion"/>. The sequence ends when the server ends the stream (which it does every
    /// few minutes: watch again from the last version seen), and throws <see cref="StatusException"/> on an ERROR event, 410 among them.
    /// One event may be at most 16 MiB.
    /// </summary>
    public async IAsyncEnumerable<WatchEvent> WatchAsync(
        GroupVersionResource resource, string ns, ListOptions options,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
    {
        using HttpRequestMessage request = Request(HttpMethod.Get, KubeUrls.Watch(resource, ns, options));
        request.Headers.TryAddWithoutValidation("Accept", options.MetadataOnly ? KubeUrls.AcceptMetadata : "application/json");
        using HttpResponseMessage response = await WithDeadlineAsync(t => SendOnceAsync(request, t), cancellation);
        await ThrowIfFailedAsync(response, "WATCH", resource.GroupResource, "", cancellation);
        await using Stream stream = await response.Content.ReadAsStreamAsync(cancellation);
        using WatchLines lines = new(stream);
        while (await lines.NextAsync(cancellation) is { } line)
        {
            yield return ResponseReading.Event(line);
        }
    }

    /// <summary>
    /// Sends any request as it is (path relative to the server), with our credentials; headers are read, the body is not. No retry, no
    /// time limit, no check of the answer's code.
    /// </summary>
    public Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellation)
    {
        request.Version = HttpVersion.Version20;
        request.VersionPolicy = HttpVersionPolicy.RequestVersionOrLower;
        return SendOnceAsync(request, cancellation);
    }

    /// <summary>Throws the answer's Status when its code is no success, and disposes nothing.</summary>
    public static async Task ThrowIfFailedAsync(
        HttpResponseMessage response, string verb, GroupResource resource, string name, CancellationToken cancellation)
    {
        if (response.IsSuccessStatusCode)
        {
            return;
        }

        byte[] body = await WatchLines.ReadAtMostAsync(await response.Content.ReadAsStreamAsync(cancellation), ErrorBodyBytesMax, cancellation);
        throw new StatusException(ResponseReading.StatusOf(body, (int)response.StatusCode, verb, resource, name));
    }

    public void Dispose()
    {
        _http.Dispose();
        if (_ownsHandler)
        {
            _handler.Dispose();
        }
    }

    private async Task<KubeObject> ObjectAsync(
        HttpMethod method, GroupVersionResource resource, ObjectKey key, string url, KubeBody body, string? contentType, CancellationToken cancellation) =>
        new(await ReadAsync(method, url, body, contentType, "application/json", resource, key.Name, cancellation));

    private Task<byte[]> ReadAsync(
        HttpMethod method, string url, KubeBody body, string? contentType, string accept, GroupVersionResource resource, string name,
        CancellationToken cancellation) => ReadAsync(method, url, body, contentType, accept, resource.GroupResource, name, cancellation);

    private async Task<byte[]> ReadAsync(
        HttpMethod method, string url, KubeBody body, string? contentType, string accept, GroupResource resource, string name,
        CancellationToken cancellation)
    {
        for (int attempt = 1; ; attempt++)
        {
            TimeSpan wait;
            try
            {
                return await WithDeadlineAsync(async token =>
                {
                    using HttpRequestMessage request = Request(method, url);
                    request.Headers.TryAddWithoutValidation("Accept", accept);
                    if (contentType is not null)
                    {
                        request.Content = new ReadOnlyMemoryContent(body.Utf8) { Headers = { ContentType = new MediaTypeHeaderValue(contentType) } };
                    }

                    using HttpResponseMessage response = await SendOnceAsync(request, token);
                    TimeSpan? retryAfter = RetryAfter(response);
                    if (retryAfter is { } pause && attempt < AttemptsMax && IsIdempotent(method))
                    {
                        throw new RetryException(pause);
                    }

                    await ThrowIfFailedAsync(response, method.Method, resource, name, token);
                    return await response.Content.ReadAsByteArrayAsync(token);
                }, cancellation);
            }
            catch (RetryException retry)
            {
                wait = retry.Pause;
            }

            Log.Retrying(_log, method.Method, url, attempt, wait.TotalSeconds);
            await Task.Delay(wait, _time, cancellation);
        }
    }

    private static bool IsIdempotent(HttpMethod method) => method == HttpMethod.Get || method == HttpMethod.Put || method == HttpMethod.Delete;

    // client-go: rest/with_retry.go checkWait: only 429 and 5xx, and only when the server names a time.
    private static TimeSpan? RetryAfter(HttpResponseMessage response)
    {
        if ((response.StatusCode == HttpStatusCode.TooManyRequests || (int)response.StatusCode >= 500) && response.Headers.RetryAfter?.Delta is { } delta)
        {
            return delta < RetryAfterMax ? delta : RetryAfterMax;
        }

        return null;
    }

    private HttpRequestMessage Request(HttpMethod method, string url) =>
        new(method, _prefix + url) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionOrLower };

    private async Task<HttpResponseMessage> SendOnceAsync(HttpRequestMessage request, CancellationToken cancellation)
    {
        if (_limiter is not null)
        {
            await _limiter.WaitAsync(cancellation);
        }

        request.Headers.TryAddWithoutValidation("User-Agent", Config.UserAgent);
        request.Headers.Authorization ??= _credentials.Header();
        if (request.Headers.Accept.Count == 0 && !request.Headers.Contains("Accept"))
        {
            request.Headers.Accept.Add(Json);
        }

        return await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
    }

    private async Task<T> WithDeadlineAsync<T>(Func<CancellationToken, Task<T>> send, CancellationToken cancellation)
    {
        using CancellationTokenSource deadline = new(Config.Timeout, _time);
        using CancellationTokenSource both = CancellationTokenSource.CreateLinkedTokenSource(cancellation, deadline.Token);
        try
        {
            return await send(both.Token);
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            throw new TimeoutException($"the API server at {Config.Server} did not answer within {Config.Timeout.TotalSeconds:0} s");
        }
    }

    private sealed class RetryException(TimeSpan pause) : Exception
    {
        public TimeSpan Pause { get; } = pause;
    }
}
