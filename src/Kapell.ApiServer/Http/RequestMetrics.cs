namespace Kapell.ApiServer.Http;

/// <summary>Counts and times requests under upstream's metric names.</summary>
internal sealed class RequestMetrics(MetricsRegistry metrics)
{
    private readonly Counter _total = metrics.Counter(
        "apiserver_request_total", "Requests by verb, group, version, resource, scope, subresource and HTTP code.",
        ["verb", "group", "version", "resource", "subresource", "scope", "code"]);

    private readonly Histogram _duration = metrics.Histogram(
        "apiserver_request_duration_seconds", "How long requests took; watches and other long-running ones are left out.",
        ["verb", "group", "version", "resource", "subresource", "scope"],
        [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 5, 8, 10, 20, 30, 60]);

    public void Done(RequestInfo info, int code, TimeSpan took)
    {
        // Paths are the callers' choice and must not make series.
        string verb = info.IsResourceRequest ? info.Verb.ToUpperInvariant() : "GET";
        string resource = info.IsResourceRequest && code != 404 ? info.Resource : "";
        string subresource = resource.Length > 0 ? info.Subresource : "";
        string group = resource.Length > 0 ? info.Group : "";
        string version = resource.Length > 0 ? info.Version : "";
        string scope = !info.IsResourceRequest ? "" : info.NameInPath ? "resource" : info.Namespace.Length > 0 ? "namespace" : "cluster";
        _total.Add(1, verb, group, version, resource, subresource, scope, code.ToString());
        if (info.Verb is not ("watch" or "proxy"))
        {
            _duration.Observe(took.TotalSeconds, verb, group, version, resource, subresource, scope);
        }
    }
}
